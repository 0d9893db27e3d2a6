"""The models whose compiled programs are recorded: each has a name, and the name always makes the same bytes.

Most are seeded generators that other tests use too. What these never make (operators that are rare, maps that are cut
into many tasks) is built here. Files are found in ``tests/data/golden`` and in the shared folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from graphs import graph_case

import strategies
from field_layers import NONE, Layers
from field_models import MODELS
from pairs import PAIRS, pair
from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"
SHARED = "shared/"
"""Names of models in the shared folder begin with this."""
SHARED_FOLDERS = (
    "models",
    "golden/mesa",
    "golden/mesa-ci",
    "golden/silicon/rk3588-dwconv3x3-i8",
    "golden/silicon/rk3588-teflon-conv1x1-regcmd",
    "golden/verisilicon/models",
    "field/models",
)
SEEDS, PAIR_SEEDS, GRAPH_SEEDS = 16, 12, 80
PLAIN = ops.NoAttributes()
SHAPE = (1, 6, 5, 40)
BYTES = ("LOGISTIC", "TANH", "HARD_SWISH", "GELU", "LEAKY_RELU")
SIGNED_BYTES = ("ELU", "EXP", "LOG", "RSQRT", "ABS")
SCHEMES = ("uint8", "int8")
Make = Callable[[], bytes]


def byte_function(kind: str, dtype: DType) -> bytes:
    """An operator on single bytes, over all of them."""
    builder = ModelBuilder()
    limits = np.iinfo(dtype.value)
    low, middle = int(limits.min), (int(limits.min) + int(limits.max) + 1) // 2
    scale, zero = {"LOGISTIC": (1 / 256, low), "TANH": (1 / 128, middle)}.get(kind, (0.02, middle + 5))
    x = builder.tensor((1, 1, 256, 1), dtype, scale=0.03, zero_point=low if kind == "RSQRT" else middle - 3)
    y = builder.tensor((1, 1, 256, 1), dtype, scale=scale, zero_point=zero)
    attributes = {"LEAKY_RELU": ops.LeakyRelu(0.1), "GELU": ops.Gelu(True)}.get(kind, PLAIN)
    builder.operator(kind, [x], [y], attributes)
    return builder.build([x], [y])


def moved(
    kind: str,
    tables: list[object],
    shapes: list[tuple[int, ...]],
    attributes: ops.Attributes = PLAIN,
    shape: tuple[int, ...] = SHAPE,
) -> bytes:
    """A rectifier, and an operator that cuts, pads or views its map; the map is the input that is None."""
    builder = ModelBuilder()
    x = builder.tensor(shape, DType.INT8, scale=0.1, zero_point=3)
    y = builder.tensor(shape, DType.INT8, scale=0.05, zero_point=-7)
    builder.operator("RELU", [x], [y])
    inputs = []
    for values in tables:
        array = np.asarray(0 if values is None else values, np.int32)
        inputs.append(y if values is None else builder.tensor(array.shape, DType.INT32, data=array))
    if kind == "PADV2":
        inputs.append(builder.tensor((1,), DType.INT8, scale=0.05, zero_point=-7, data=np.array([9])))
    outputs = [builder.tensor(each, DType.INT8, scale=0.05, zero_point=-7) for each in shapes]
    builder.operator(kind, inputs, outputs, attributes)
    return builder.build([x], outputs)


MOVED: dict[str, Make] = {
    "slice channels": lambda: moved("SLICE", [None, [0, 1, 0, 3], [1, 4, 5, 30]], [(1, 4, 5, 30)]),
    "slice columns": lambda: moved("SLICE", [None, [0, 2, 1, 16], [1, 3, 3, -1]], [(1, 3, 3, 24)]),
    "slice rows": lambda: moved("SLICE", [None, [0, 2, 0, 0], [1, 3, 5, 40]], [(1, 3, 5, 40)]),
    "strided slice": lambda: moved(
        "STRIDED_SLICE",
        [None, [0, 0, 0, 5], [1, -1, 0, 9], [1, 1, 1, 1]],
        [(1, 5, 5, 4)],
        ops.StridedSlice(end_mask=4),
    ),
    "split channels": lambda: moved("SPLIT", [[3], None], [(1, 6, 5, 8)] * 5),
    "split columns": lambda: moved("SPLIT", [[2], None], [(1, 6, 1, 40)] * 5),
    "split unevenly": lambda: moved("SPLIT_V", [None, [10, 30], [3]], [(1, 6, 5, 10), (1, 6, 5, 30)]),
    "split at a surface": lambda: moved("SPLIT_V", [None, [16, 24], [3]], [(1, 6, 5, 16), (1, 6, 5, 24)]),
    "pad": lambda: moved("PAD", [None, [(0, 0), (9, 17), (1, 20), (0, 3)]], [(1, 32, 26, 43)]),
    "pad with a value": lambda: moved("PADV2", [None, [(0, 0), (1, 2), (3, 0), (0, 0)]], [(1, 9, 8, 40)]),
    "squeeze": lambda: moved("SQUEEZE", [None], [SHAPE[1:]]),
    "expand": lambda: moved("EXPAND_DIMS", [None, [1]], [(1, 1, 5, 40)], shape=(1, 5, 40)),
}


def grouped(scheme: str, groups: int) -> bytes:
    """A convolution of some groups."""
    net = Layers(scheme, groups)
    x, y = net.features((1, 9, 7, 16 * groups)), net.features((1, 9, 7, 24 * groups))
    part = net.features((1, 1, 1, 16))
    inputs = [x, *net.weights(part, (24 * groups, 3, 3, 16), 0)[1:]]
    net.operator("CONV_2D", inputs, [y], ops.Conv2D((1, 1), Padding.SAME))
    return net.build([x], [y])


def dilated(net: Layers, x: int) -> int:
    y = net.features(net.reals[x][0])
    channels = net.reals[x][0][3]
    inputs = net.weights(x, (channels, 3, 3, channels), 0)
    net.operator("CONV_2D", inputs, [y], ops.Conv2D((1, 1), Padding.SAME, (6, 4)))
    return y


def transposed(net: Layers, x: int) -> int:
    _, rows, columns, channels = net.reals[x][0]
    shape = (1, 2 * rows, 2 * columns, 24)
    y = net.features(shape)
    source, weights, bias = net.weights(x, (24, 3, 3, channels), 0)
    net.operator(
        "TRANSPOSE_CONV", [net.numbers(shape), weights, source, bias], [y], ops.TransposeConv((2, 2), Padding.SAME)
    )
    return y


def averaged(net: Layers, x: int) -> int:
    y = net.alike(x, (1, 1, 1, net.reals[x][0][3]))
    net.operator("MEAN", [x, net.numbers([1, 2])], [y], ops.Reduce(keep_dims=True))
    return y


def pooled(kind: str) -> Callable[[Layers, int], int]:
    def make(net: Layers, x: int) -> int:
        _, rows, columns, channels = net.reals[x][0]
        y = net.alike(x, (1, -(-rows // 2), -(-columns // 2), channels))
        net.operator(kind, [x], [y], ops.Pool2D((2, 2), Padding.SAME, (3, 3)))
        return y

    return make


LARGE: dict[str, tuple[tuple[int, ...], Callable[[Layers, int], int]]] = {
    "stem": ((1, 224, 224, 3), lambda net, x: net.conv(x, 32, (3, 3), (2, 2))),
    "rows": ((1, 112, 112, 32), lambda net, x: net.conv(x, 32, (3, 3))),
    "kernels": ((1, 28, 28, 128), lambda net, x: net.conv(x, 320, (3, 3))),
    "pointwise": ((1, 7, 7, 512), lambda net, x: net.conv(x, 1024)),
    "valid": ((1, 65, 33, 48), lambda net, x: net.conv(x, 40, (5, 5), (2, 1), NONE, Padding.VALID)),
    "depthwise": ((1, 112, 112, 64), lambda net, x: net.depthwise(x, (7, 7), (2, 2))),
    "dilated": ((1, 65, 65, 32), dilated),
    "dilated depthwise": ((1, 65, 65, 32), lambda net, x: net.depthwise(x, dilation=6)),
    "dense": ((1, 2048), lambda net, x: net.dense(x, 501)),
    "residual": ((1, 56, 56, 24), lambda net, x: net.bottleneck(x)),
    "sum": ((1, 112, 112, 96), lambda net, x: net.add(x, x)),
    "join": ((1, 56, 56, 40), lambda net, x: net.concatenate([x, net.alike(x, (1, 56, 56, 40)), x], 3)),
    "bilinear": ((1, 28, 28, 64), lambda net, x: net.resize(x, 56)),
    "nearest": ((1, 28, 28, 64), lambda net, x: net.resize(x, 84, "RESIZE_NEAREST_NEIGHBOR")),
    "transposed": ((1, 32, 32, 64), transposed),
    "maximum": ((1, 112, 112, 64), pooled("MAX_POOL_2D")),
    "average": ((1, 112, 112, 64), pooled("AVERAGE_POOL_2D")),
    "mean": ((1, 56, 56, 72), averaged),
    "table": ((1, 56, 56, 72), lambda net, x: net.unary("HARD_SWISH", x, (-0.5, 6.0))),
    "clamp": ((1, 56, 56, 72), lambda net, x: net.unary("RELU6", x, (0.0, 6.0))),
}
"""One layer on a map that does not fit the NPU's memory at once, or takes many tasks."""


def large(kind: str, scheme: str) -> bytes:
    """Make one of :data:`LARGE`; what a layer reads beside its map is a second input."""
    shape, layer = LARGE[kind]
    net = Layers(scheme, sum(kind.encode()))
    x = net.features(shape)
    y = layer(net, x)
    given = [x, x + 1] if kind == "join" else [x]
    return net.build(given, [y])


def built() -> dict[str, Make]:
    """What makes each model that needs no file, by the model's name."""
    made: dict[str, Make] = {}
    for family in strategies.FAMILIES:
        for seed in range(SEEDS):
            made[f"{family}/{seed}"] = lambda family=family, seed=seed: strategies.case(family, seed).model
    for family in PAIRS:
        for seed in range(PAIR_SEEDS):
            made[f"{family}/{seed}"] = lambda family=family, seed=seed: pair(family, seed).model
    for seed in range(GRAPH_SEEDS):
        made[f"graph/{seed}"] = lambda seed=seed: graph_case(seed).model
    made |= {f"field/{name}": make for name, make in MODELS.items()}
    made |= {f"moving/{name}": make for name, make in MOVED.items()}
    for scheme in SCHEMES:
        dtype = DType(scheme)
        for kind in (*BYTES, *(SIGNED_BYTES if dtype is DType.INT8 else ())):
            made[f"byte/{kind} {scheme}"] = lambda kind=kind, dtype=dtype: byte_function(kind, dtype)
        for groups in (2, 3):
            made[f"grouped/{groups} {scheme}"] = lambda scheme=scheme, groups=groups: grouped(scheme, groups)
        for kind in LARGE:
            made[f"large/{kind} {scheme}"] = lambda kind=kind, scheme=scheme: large(kind, scheme)
    return made


BUILT = built()


def files(shared: Path | None) -> Iterator[str]:
    """Names of the models that are files, those of the shared folder where there is one."""
    yield from (f"golden/{path.name}" for path in sorted(GOLDEN.glob("*.tflite")))
    if shared is not None:
        for folder in SHARED_FOLDERS:
            yield from (f"{SHARED}{folder}/{path.name}" for path in sorted((shared / folder).glob("*.tflite")))


def model_of(name: str, shared: Path | None) -> bytes:
    """Make or read the model of a name."""
    if name in BUILT:
        return BUILT[name]()
    if name.startswith(SHARED):
        assert shared is not None
        return (shared / name.removeprefix(SHARED)).read_bytes()
    return (GOLDEN / name.removeprefix("golden/")).read_bytes()
