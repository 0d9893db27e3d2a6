"""Read damaged ONNX models; a child of ``test_onnx_damage``, as the onnx package's C++ might stop its process.

Arguments: the first seed, and how many. Prints each seed before it is read, and how many were accepted at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import onnx

from onnx_nets import Net, random_net
from rocketnpu.errors import RocketError
from rocketnpu.model.onnx import parse
from rocketnpu.partition.plan import plan

NUMBERS = (0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 65535, 1 << 24, (1 << 31) - 1, -(1 << 31), 1 << 40, (1 << 63) - 1)
REALS = (0.0, -1.0, 1e-45, 1e30, float("inf"), float("nan"), 1e-10)
TEXTS = (
    "",
    "x",
    "Conv",
    "Relu",
    "Softmax",
    "QLinearConv",
    "Reshape",
    "Split",
    "If",
    "MatMul",
    "DequantizeLinear",
    "a\n",
)


def bytes_changed(data: bytes, choose: Random) -> bytes:
    """Change, drop, double or cut some bytes."""
    made = bytearray(data)
    for _ in range(choose.randint(1, 8)):
        place = choose.randrange(len(made))
        kind = choose.randrange(5)
        if kind == 0:
            made[place] = choose.randrange(256)
        elif kind == 1:
            made[place] ^= 1 << choose.randrange(8)
        elif kind == 2:
            del made[place : place + choose.randint(1, 16)]
        elif kind == 3:
            made[place:place] = made[place : place + choose.randint(1, 16)]
        else:
            made[place:] = made[place : len(made) - choose.randint(0, 40)]
        if not made:
            return b"\x08"
    return bytes(made)


def fields_changed(data: bytes, choose: Random) -> bytes:
    """Change fields of the model, so that it stays a protocol buffer."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(choose.randint(1, 4)):
        choose.choice((_node, _node, _attribute, _tensor, _value, _order))(model, choose)
    return model.SerializeToString()


def _node(model: onnx.ModelProto, choose: Random) -> None:
    node = choose.choice(model.graph.node)
    names = [*(name for other in model.graph.node for name in (*other.input, *other.output)), *TEXTS]
    pick = choose.randrange(6)
    if pick == 0:
        node.op_type = choose.choice([other.op_type for other in model.graph.node] + list(TEXTS))
    elif pick == 1 and node.input:
        node.input[choose.randrange(len(node.input))] = choose.choice(names)
    elif pick == 2 and node.output:
        node.output[choose.randrange(len(node.output))] = choose.choice(names)
    elif pick == 3 and node.input:
        del node.input[choose.randrange(len(node.input))]
    elif pick == 4:
        node.input.append(choose.choice(names))
    else:
        node.domain = choose.choice(("", "com.microsoft", "ai.onnx", "other"))


def _attribute(model: onnx.ModelProto, choose: Random) -> None:
    found = [attribute for node in model.graph.node for attribute in node.attribute]
    if not found:
        return
    attribute = choose.choice(found)
    pick = choose.randrange(5)
    if pick == 0:
        attribute.i = choose.choice(NUMBERS)
    elif pick == 1 and attribute.ints:
        attribute.ints[choose.randrange(len(attribute.ints))] = choose.choice(NUMBERS)
    elif pick == 2:
        attribute.ints.append(choose.choice(NUMBERS))
    elif pick == 3:
        attribute.type = choose.randrange(15)
    else:
        attribute.name = choose.choice(("axis", "pads", "strides", "group", "perm", "mode", "auto_pad", "to"))


def _tensor(model: onnx.ModelProto, choose: Random) -> None:
    tensor = choose.choice(model.graph.initializer)
    pick = choose.randrange(6)
    if pick == 0 and tensor.dims:
        tensor.dims[choose.randrange(len(tensor.dims))] = choose.choice(NUMBERS)
    elif pick == 1:
        tensor.data_type = choose.randrange(30)
    elif pick == 2:
        tensor.raw_data = bytes(choose.randrange(256) for _ in range(choose.randrange(40)))
    elif pick == 3:
        tensor.dims.append(choose.choice(NUMBERS))
    elif pick == 4 and tensor.data_type == 1:
        tensor.ClearField("raw_data")
        tensor.float_data.extend([choose.choice(REALS)] * min(max(1, int(tensor.dims[0]) if tensor.dims else 1), 1000))
    else:
        tensor.data_location = choose.randrange(2)


def _value(model: onnx.ModelProto, choose: Random) -> None:
    value = choose.choice([*model.graph.input, *model.graph.output])
    dims = value.type.tensor_type.shape.dim
    pick = choose.randrange(4)
    if pick == 0 and dims:
        dims[choose.randrange(len(dims))].dim_value = choose.choice(NUMBERS)
    elif pick == 1:
        value.type.tensor_type.elem_type = choose.randrange(24)
    elif pick == 2 and dims:
        del dims[0]
    else:
        value.name = choose.choice(TEXTS)


def _order(model: onnx.ModelProto, choose: Random) -> None:
    nodes = list(model.graph.node)
    pick = choose.randrange(4)
    if pick == 0:
        del model.graph.node[choose.randrange(len(nodes))]
    elif pick == 1:
        model.graph.node.append(choose.choice(nodes))
    elif pick == 2:
        model.opset_import[0].version = choose.choice((1, 6, 9, 10, 12, 13, 18, 21, 25, 99, -1))
    else:
        choose.shuffle(nodes)
        del model.graph.node[:]
        model.graph.node.extend(nodes)


def wholes() -> list[bytes]:
    """Return the models that are damaged: random ones, and one with shapes that are computed."""
    found = []
    for seed in range(40):
        net = random_net(seed)
        found.append(net.model(*net.ends).SerializeToString())
    net = Net(50)
    x = net.conv(net.input((1, 3, 6, 6)), 16, (3, 3))
    real, shape, first, wanted, result = net.real(x), *(net.name(n) for n in ("shape", "first", "wanted", "result"))
    net.node("Shape", [real], [shape])
    net.node("Gather", [shape, net.numbers(0)], [first])
    net.node("Concat", [first, net.numbers(-1)], [wanted], axis=0)
    net.node("Reshape", [real, wanted], [result])
    found.append(net.model(net.whole(result, (1, 256), x.spread, like=x)).SerializeToString())
    return found


def main() -> None:
    """Read them, and let only errors of this package pass."""
    models, accepted = wholes(), 0
    for seed in range(int(sys.argv[1]), int(sys.argv[1]) + int(sys.argv[2])):
        choose = Random(seed)
        change = choose.choice((bytes_changed, fields_changed, fields_changed))
        data = change(choose.choice(models), choose)
        print(seed, flush=True)
        try:
            model = parse(data, "damaged.onnx")
            plan(model.graph)
        except RocketError as error:
            lines = str(error).count("\n") + 1
        else:
            lines, accepted = 1, accepted + 1
        assert lines == 1, f"{seed}: the error is of {lines} lines"
    print(f"accepted {accepted}")


if __name__ == "__main__":
    main()
