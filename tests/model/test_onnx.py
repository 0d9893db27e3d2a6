"""The reader of ONNX models: what it makes of the two quantised forms, and of what is no good model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnx_nets import Net, random_net, same_program
from rocketnpu.compiler import compile_graph
from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.onnx import OnnxModel, load, parse
from rocketnpu.model.onnx.layout import Layout
from rocketnpu.model.onnx.reader import convert
from rocketnpu.partition.plan import plan
from rocketnpu.program.program import Program

Array = npt.NDArray[Any]


def programs(model: OnnxModel) -> list[Program]:
    return [compile_graph(part) for part in plan(model.graph).parts]


def kinds(model: OnnxModel) -> list[str]:
    return [operator.kind for operator in model.graph.operators]


# -- layouts -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 4), min_size=3, max_size=4), st.permutations(range(4)), st.booleans())
def test_layouts_bring_values_there_and_back(shape: list[int], order: list[int], transpose: bool) -> None:
    layout = Layout.image(tuple(shape))
    assert layout is not None
    value = np.arange(np.prod(shape)).reshape(shape)
    if transpose:
        permutation = tuple(axis for axis in order if axis < len(shape))
        moved = layout.transposed(permutation)
        assert moved is not None
        assert moved.value_shape == value.transpose(permutation).shape
        np.testing.assert_array_equal(moved.to_graph(value.transpose(permutation)), layout.to_graph(value))
        layout, value = moved, value.transpose(permutation)
    there = layout.to_graph(value)
    assert there.shape == layout.shape
    np.testing.assert_array_equal(layout.to_value(there, value.shape), value)
    for axis in range(len(shape)):
        assert there.shape[layout.axis(axis)] == value.shape[axis]


def test_image_layout_is_channels_last() -> None:
    layout = Layout.image((1, 3, 4, 5))
    assert layout is not None
    value = np.arange(60).reshape(1, 3, 4, 5)
    np.testing.assert_array_equal(layout.to_graph(value), value.transpose(0, 2, 3, 1))
    assert not layout.is_plain
    one = Layout.image((1, 7, 1, 1))
    assert one is not None
    assert one.is_plain


# -- forms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_both_forms_of_a_net_compile_to_the_same_bytes(seed: int) -> None:
    nets = [random_net(seed, form) for form in ("qdq", "qoperator")]
    one, other = (convert(net.model(*net.ends)) for net in nets)
    assert kinds(one) == kinds(other)
    first, second = programs(one), programs(other)
    assert first
    assert len(first) == len(second)
    for mine, theirs in zip(first, second, strict=True):
        same_program(mine, theirs)


def test_clamps_behind_operators_are_fused() -> None:
    net = Net(3, kind="int8")
    x = net.conv(net.input((1, 3, 8, 8)), 16, (3, 3), pads=[1, 1, 1, 1], clamp="Relu")
    y = net.conv(x, 8, (1, 1), clamp="Clip")
    model = convert(net.model(y))
    assert kinds(model).count("CONV_2D") == 2
    assert "RELU" not in kinds(model)


def test_a_chain_of_element_functions_is_one_byte_function() -> None:
    net = Net(4)
    model = convert(net.model(net.silu(net.input((1, 3, 8, 8), scale=1 / 32))))
    (operator,) = (operator for operator in model.graph.operators if operator.kind == "BYTE_FUNCTION")
    assert isinstance(operator.attributes, ops.ByteFunction)
    source = model.graph.input_of(operator, 0).quantisation
    target = model.graph.tensors[operator.outputs[0]].quantisation
    assert source is not None
    assert target is not None
    reals = (np.arange(256) - source.zero_point) * source.scale
    wanted = np.clip(np.rint(reals / (1 + np.exp(-reals)) / target.scale) + target.zero_point, 0, 255)
    assert np.abs(wanted - operator.attributes.values).max() <= 1
    assert plan(model.graph).decisions[operator.index].supported


def test_maps_become_rows_and_the_weights_follow() -> None:
    net = Net(5)
    x = net.conv(net.input((1, 2, 4, 5)), 3, (1, 1))
    rows = net.moved("Flatten", x, (1, 60), axis=1)
    model = convert(net.model(net.gemm(rows, 7)))
    (layer,) = (operator for operator in model.graph.operators if operator.kind == "FULLY_CONNECTED")
    found = model.graph.input_of(layer, 1).data
    assert found is not None
    given_weights = next(numpy_helper.to_array(c) for c in net.constants if c.dims == [7, 60])
    np.testing.assert_array_equal(found.reshape(7, 4, 5, 3), given_weights.reshape(7, 3, 4, 5).transpose(0, 2, 3, 1))
    taken = [decision.kind for decision in plan(model.graph).decisions if decision.supported]
    assert taken == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]


def test_what_is_not_understood_stays_with_the_host_by_name() -> None:
    net = Net(6)
    x = net.conv(net.input((1, 3, 8, 8)), 16, (3, 3))
    real, result = net.real(x), net.name("soft")
    net.node("Softmax", [real], [result], axis=1)
    model = convert(net.model(net.conv(net.whole(result, x.shape, 0.1, low=0.0), 8, (1, 1))))
    (softmax,) = (operator for operator in model.graph.operators if operator.kind == "ONNX:Softmax")
    reason = plan(model.graph).decisions[softmax.index].reason
    name = next(node.name for node in net.nodes if node.op_type == "Softmax")
    assert name in reason
    assert len(plan(model.graph).parts) == 2


def test_unquantised_convolutions_count_in_the_coverage() -> None:
    net = Net(7)
    x = net.conv(net.input((1, 4, 8, 8)), 4, (1, 1))
    result = net.name("float")
    net.node("Conv", [net.real(x), net.constant(np.ones((4, 4, 1, 1), np.float32))], [result])
    model = convert(net.model(net.whole(result, x.shape, 1.0)))
    assert plan(model.graph).coverage == 0.5


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_what_is_joined_or_averaged_may_change_its_scale(kind: str) -> None:
    net = Net(11, kind=kind)
    x = net.input((1, 16, 8, 8))
    y = net.conv(x, 16, (1, 1))
    joined = net.concat([y, net.conv(y, 16, (3, 3), pads=[1, 1, 1, 1])])
    model = convert(net.model(net.pool("AveragePool", joined, (2, 2), strides=[2, 2])))
    divided = plan(model.graph)
    assert len(divided.parts) == 1
    assert kinds(model).count("QUANTIZE") == (3 if kind == "int8" else 1)
    assert "DEPTHWISE_CONV_2D" in kinds(model)


# -- the same network as TFLite and as ONNX --------------------------------------------------------------------------


def _array(net: Net, place: int) -> Array:
    return np.array(numpy_helper.to_array(net.constants[place]))


def _twins(kind: str, weights: str, per_channel: bool) -> tuple[OnnxModel, Any]:
    """Write a network in both worlds: two convolutions, a depthwise one, a sum, a mean, a fully connected layer."""
    net = Net(8, kind=kind, weights=weights)
    dtype, weight_type = DType(kind), DType(weights)
    builder = ModelBuilder()
    x = net.input((1, 8, 14, 14))
    values = {x.name: builder.tensor((1, 14, 14, 8), dtype, scale=x.scale, zero_point=x.zero)}

    def added(value: Any) -> int:
        shape = value.shape if len(value.shape) == 2 else tuple(value.shape[axis] for axis in (0, 2, 3, 1))
        values[value.name] = builder.tensor(shape, dtype, scale=value.scale, zero_point=value.zero)
        return values[value.name]

    def layer(source: Any, channels: int, kernel: int, stride: int, group: int, clamp: str) -> Any:
        first = len(net.constants)
        pads = [kernel // 2] * 4 if stride == 1 else [0, 0, 1, 1]
        made = net.conv(
            source, channels, (kernel, kernel), group=group, strides=[stride] * 2, pads=pads, clamp=clamp,
            per_channel=per_channel,
        )  # fmt: skip
        activation = {"": Activation.NONE, "Relu": Activation.RELU, "Relu6": Activation.RELU6}[clamp]
        depthwise = group > 1
        data, scales, zeros = (_array(net, first + place) for place in range(3))
        bias = next(
            array
            for array in map(numpy_helper.to_array, net.constants[first:])
            if array.dtype == np.int32 and array.any()
        )
        data = data.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
        axis = 3 if depthwise else 0
        w = builder.tensor(data.shape, weight_type, scale=scales, zero_point=zeros, axis=axis, data=data)
        b = builder.tensor((channels,), DType.INT32, scale=np.float32(source.scale) * scales, data=bias)
        attributes: Any
        if depthwise:
            attributes = ops.DepthwiseConv2D((stride, stride), Padding.SAME, activation=activation)
        else:
            attributes = ops.Conv2D((stride, stride), Padding.SAME, activation=activation)
        name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        builder.operator(name, [values[source.name], w, b], [added(made)], attributes)
        return made

    a = layer(x, 16, 3, 2, 1, "Relu")
    b = layer(a, 16, 3, 1, 16, "Relu6")
    c = layer(b, 16, 1, 1, 1, "")
    d = net.pair("Add", c, a)
    builder.operator("ADD", [values[c.name], values[a.name]], [added(d)], ops.Arithmetic())
    e = net.global_average(d)
    axes = builder.tensor((2,), DType.INT32, data=[1, 2])
    builder.operator("MEAN", [values[d.name], axes], [added(e)], ops.Reduce(keep_dims=True))
    f = net.moved("Flatten", e, (1, 16), axis=1)
    shape = builder.tensor((2,), DType.INT32, data=[1, 16])
    builder.operator("RESHAPE", [values[e.name], shape], [added(f)])
    first = len(net.constants)
    g = net.gemm(f, 10)
    data, scales, zeros = (_array(net, first + place) for place in range(3))
    bias = next(_array(net, at) for at in range(first, len(net.constants)) if _array(net, at).shape == (10,))
    w = builder.tensor(data.shape, weight_type, scale=scales, zero_point=zeros, data=data)
    bias_tensor = builder.tensor((10,), DType.INT32, scale=np.float32(f.scale) * scales, data=bias)
    builder.operator("FULLY_CONNECTED", [values[f.name], w, bias_tensor], [added(g)], ops.FullyConnected())
    return convert(net.model(g)), tflite.parse(builder.build([values[x.name]], [values[g.name]]))


@pytest.mark.parametrize(("kind", "weights", "per_channel"), [("int8", "int8", True), ("uint8", "uint8", False)])
def test_a_network_in_both_worlds_compiles_to_the_same_program(kind: str, weights: str, per_channel: bool) -> None:
    here, there = _twins(kind, weights, per_channel)
    (mine,), (theirs,) = programs(here), [compile_graph(part) for part in plan(there).parts]
    assert len(mine.tasks) == 5
    same_program(mine, theirs)


# -- files ---------------------------------------------------------------------------------------------------------


def _small() -> onnx.ModelProto:
    net = Net(9)
    return net.model(net.conv(net.input((1, 3, 6, 6)), 16, (3, 3)))


def test_data_in_other_files_are_found(tmp_path: Path) -> None:
    whole = _small()
    path = tmp_path / "model.onnx"
    copy = onnx.ModelProto.FromString(whole.SerializeToString())
    onnx.save(copy, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    for mine, theirs in zip(programs(load(path)), programs(convert(whole)), strict=True):
        same_program(mine, theirs)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "missing.bin", ""])
def test_data_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(1000))
    _external(folder / "model.onnx", location)
    with pytest.raises(ModelError, match=r"outside|cannot be read") as caught:
        load(folder / "model.onnx")
    assert "\n" not in str(caught.value)


def test_data_in_other_files_need_the_path(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(1000))
    _external(tmp_path / "model.onnx", "weights.bin")
    with pytest.raises(ModelError, match="read it by its path"):
        parse((tmp_path / "model.onnx").read_bytes())


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(1000))
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    _external(folder / "model.onnx", "link.bin")
    with pytest.raises(ModelError, match="outside"):
        load(folder / "model.onnx")


@pytest.mark.parametrize(("offset", "length"), [("-1", "10"), ("0", "100000"), ("x", "10"), ("0", "y"), ("0", "-4")])
def test_places_beyond_a_data_file_are_refused(tmp_path: Path, offset: str, length: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    _external(tmp_path / "model.onnx", "weights.bin", offset=offset, length=length)
    with pytest.raises(ModelError, match="the data of 'w_"):
        load(tmp_path / "model.onnx")


def test_many_tensors_of_one_data_file_are_not_all_held(tmp_path: Path) -> None:
    """A small model may name the same bytes again and again: memory would be the file's length times as often."""
    size, times = 1 << 29, 5
    with (tmp_path / "weights.bin").open("wb") as sparse:
        sparse.truncate(size)
    model = _small()
    for number in range(times):
        tensor = model.graph.initializer.add(name=f"t{number}", data_type=TensorProto.FLOAT, dims=[size // 4])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    program = (
        "import re, sys; from pathlib import Path; from rocketnpu.model.onnx import proto;"
        "proto.MODEL_BYTES = 1 << 25\n"
        "try: proto.read(Path(sys.argv[1]))\n"
        "except proto.ModelError as error: print(error)\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1]) < 400_000)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    told, small = done.stdout.splitlines()
    assert "the data of 't0' makes more than 33554432 bytes together with that of other tensors" in told
    assert small == "True"


def test_data_in_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.bin")
    _external(tmp_path / "model.onnx", "weights.bin", length="0")
    with pytest.raises(ModelError, match="it is a pipe, not a file"):
        load(tmp_path / "model.onnx")


def _external(path: Path, location: str, **more: str) -> None:
    model = _small()
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())


def test_initialisers_of_every_packing_are_read() -> None:
    model = _small()
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        listed = helper.make_tensor(tensor.name, tensor.data_type, tensor.dims, array.reshape(-1).tolist())
        assert not listed.raw_data
        tensor.CopyFrom(listed)
    for mine, theirs in zip(programs(convert(model)), programs(convert(_small())), strict=True):
        same_program(mine, theirs)


def test_functions_are_inlined() -> None:
    net = Net(10)
    x = net.conv(net.input((1, 3, 6, 6)), 16, (3, 3))
    result = net.name("out")
    net.node("Twice", [net.real(x)], [result], "mine")
    model = net.model(net.whole(result, x.shape, x.spread))
    body = [helper.make_node("Relu", ["a"], ["m"]), helper.make_node("Sigmoid", ["m"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    assert "BYTE_FUNCTION" in kinds(convert(model))


def test_a_batch_that_is_left_open_is_one() -> None:
    model = _small()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    assert convert(model).graph.tensors[convert(model).graph.inputs[0]].shape == (1, 3, 6, 6)


def test_open_sizes_are_asked_for_and_given() -> None:
    model = _small()
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"size{axis}"
    name = model.graph.input[0].name
    with pytest.raises(ModelError, match="is open"):
        convert(model)
    found = convert(model, shapes={name: (1, 3, 9, 10)})
    assert found.graph.tensors[found.graph.inputs[0]].shape == (1, 3, 9, 10)
    with pytest.raises(ModelError, match="has no input 'other'"):
        convert(model, shapes={"other": (1,)})
    with pytest.raises(ModelError, match="4 dimensions"):
        convert(model, shapes={name: (1, 3)})


def _cyclic() -> bytes:
    model = _small()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    return model.SerializeToString()


def _huge() -> bytes:
    model = _small()
    next(t for t in model.graph.initializer if len(t.dims) == 4).dims[0] = 1 << 40
    return model.SerializeToString()


def _old() -> bytes:
    model = _small()
    model.opset_import[0].version = 7
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"TFL3 is something else, and long enough", "damaged, or no ONNX model"),
        (onnx.ModelProto().SerializeToString() + b"\x08\x08", "no ONNX model"),
        (_cyclic(), "which nothing makes before it"),
        (_huge(), "shape of"),
        (_old(), "operator set 7"),
    ],
)
def test_what_is_no_good_model_is_refused_in_a_line(data: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        parse(data, "some.onnx")
    assert "\n" not in str(caught.value)
    assert "some.onnx" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read model"):
        load(tmp_path / "none.onnx")


def test_a_missing_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _small().SerializeToString()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'rocketnpu\[onnx\]'"):
        parse(data)
