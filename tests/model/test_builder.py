"""What the builder writes, the reader reads back; and LiteRT accepts it."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.graph import Activation, DType, Graph, Padding, Quantisation
from rocketnpu.graph import operators as ops
from rocketnpu.model.attributes import read_attributes
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.options import known_kinds
from rocketnpu.model.tflite import parse
from rocketnpu.third_party import tflite_schema as schema

PAIRS = st.tuples(st.integers(1, 9), st.integers(1, 9))
ACTIVATIONS = st.sampled_from(Activation)
PADDINGS = st.sampled_from(Padding)
ATTRIBUTES = {
    "CONV_2D": st.builds(ops.Conv2D, PAIRS, PADDINGS, PAIRS, ACTIVATIONS),
    "DEPTHWISE_CONV_2D": st.builds(ops.DepthwiseConv2D, PAIRS, PADDINGS, PAIRS, ACTIVATIONS, st.integers(0, 9)),
    "TRANSPOSE_CONV": st.builds(ops.TransposeConv, PAIRS, PADDINGS, ACTIVATIONS),
    "FULLY_CONNECTED": st.builds(ops.FullyConnected, ACTIVATIONS, st.booleans(), st.booleans()),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), st.builds(ops.Pool2D, PAIRS, PADDINGS, PAIRS, ACTIVATIONS)),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV"), st.builds(ops.Arithmetic, ACTIVATIONS)),
    "CONCATENATION": st.builds(ops.Concatenation, st.integers(-4, 3), ACTIVATIONS),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"), st.builds(ops.Reduce, st.booleans())),
    **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), st.builds(ops.Block, st.integers(1, 9))),
    **dict.fromkeys(("PACK", "UNPACK"), st.builds(ops.Pack, st.integers(-4, 3))),
    "GATHER": st.builds(ops.Gather, st.integers(-4, 3), st.integers(0, 2)),
    "SQUEEZE": st.builds(ops.Squeeze, st.lists(st.integers(-4, 3), max_size=3).map(tuple)),
    "MIRROR_PAD": st.builds(ops.MirrorPad, st.booleans()),
    **dict.fromkeys(
        ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), st.builds(ops.Resize, st.booleans(), st.booleans())
    ),
    "LEAKY_RELU": st.builds(ops.LeakyRelu, st.floats(0, 1, width=32)),
    "SOFTMAX": st.builds(ops.Softmax, st.floats(0, 4, width=32)),
    "GELU": st.builds(ops.Gelu, st.booleans()),
    "STRIDED_SLICE": st.builds(ops.StridedSlice, *[st.integers(0, 15)] * 5),
}


def described(graph: Graph) -> list[object]:
    """Everything in a graph as plain values, so that two can be compared."""
    rows: list[object] = [graph.inputs, graph.outputs, graph.operators]
    for number, tensor in sorted(graph.tensors.items()):
        row = {field.name: getattr(tensor, field.name) for field in fields(tensor)}
        if isinstance(row["quantisation"], Quantisation):
            found = row["quantisation"]
            row["quantisation"] = (found.scales.tolist(), found.zero_points.tolist(), found.axis)
        if tensor.data is not None:
            row["data"] = (tensor.data.dtype.name, tensor.data.tolist())
        rows.append((number, row))
    return rows


@pytest.mark.parametrize("kind", known_kinds())
@given(data=st.data())
def test_attributes_come_back(kind: str, data: st.DataObject) -> None:
    attributes = data.draw(ATTRIBUTES.get(kind, st.just(ops.NoAttributes())))
    builder = ModelBuilder()
    x, w, b, y = (builder.tensor((1, 2, 2, 4), DType.INT8, scale=0.5) for _ in range(4))
    builder.operator(kind, [x, w, None, b], [y], attributes)
    table = schema.Model.GetRootAs(builder.build([x, w, b], [y])).Subgraphs(0).Operators(0)
    assert read_attributes(kind, table) == attributes
    assert (table.InputsAsNumpy().tolist(), table.OutputsAsNumpy().tolist()) == ([x, w, -1, b], [y])


def test_an_absent_input_comes_back_as_none() -> None:
    builder = ModelBuilder()
    x, y = builder.tensor((1, 4), DType.INT8, scale=0.5), builder.tensor((1, 2), DType.INT8, scale=0.5)
    w = builder.tensor((2, 4), DType.INT8, scale=0.5, data=np.ones((2, 4)))
    builder.operator("FULLY_CONNECTED", [x, w, None], [y], ops.FullyConnected())
    (operator,) = parse(builder.build([x], [y])).operators
    assert operator == ops.Operator(0, "FULLY_CONNECTED", (x, w, None), (y,), ops.FullyConnected())


NUMBERS = [dtype for dtype in DType if dtype not in {DType.OTHER, DType.BOOL}]


@given(
    shape=st.lists(st.integers(1, 5), max_size=4),
    dtype=st.sampled_from(NUMBERS),
    seed=st.integers(0, 1 << 30),
    scale=st.none() | st.floats(2**-20, 2**20, width=32),
    zero_point=st.integers(0, 127),
    name=st.text(max_size=10).filter(lambda text: "\0" not in text),
)
def test_tensors_come_back(shape, dtype, seed, scale, zero_point, name) -> None:
    values = np.random.default_rng(seed).integers(0, 127, shape).astype(dtype.value)
    builder = ModelBuilder()
    constant = builder.tensor(shape, dtype, scale=scale, zero_point=zero_point, data=values, name=name)
    graph = parse(builder.build([], [constant]))
    tensor = graph.tensors[constant]
    assert (tensor.name, tensor.shape, tensor.dtype) == (name, tuple(shape), dtype)
    assert tensor.data is not None
    assert tensor.data.dtype == np.dtype(dtype.value)
    np.testing.assert_array_equal(tensor.data, values)
    if scale is None:
        assert tensor.quantisation is None
    else:
        assert tensor.quantisation is not None
        assert (tensor.quantisation.scale, tensor.quantisation.zero_point) == (scale, zero_point)


def test_per_channel_quantisation_comes_back() -> None:
    builder = ModelBuilder()
    weights = builder.tensor(
        (1, 3, 3, 5),
        DType.INT8,
        scale=[0.5, 1, 2, 4, 8],
        zero_point=[0, 1, 2, 3, 4],
        axis=3,
        data=np.ones((1, 3, 3, 5)),
    )
    found = parse(builder.build([], [weights])).tensors[weights].quantisation
    assert found is not None
    assert (found.scales.tolist(), found.zero_points.tolist(), found.axis) == ([0.5, 1, 2, 4, 8], [0, 1, 2, 3, 4], 3)


def two_operators() -> bytes:
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 4, 4, 3), DType.UINT8, scale=0.5, zero_point=7) for _ in range(2))
    c = builder.tensor((3,), DType.UINT8, scale=0.25, zero_point=9, data=[1, 2, 255])
    s, t = (builder.tensor((1, 4, 4, 3), DType.UINT8, scale=0.75, zero_point=3) for _ in range(2))
    builder.operator("ADD", [x, y], [s], ops.Arithmetic(Activation.RELU))
    builder.operator("MUL", [s, c], [t], ops.Arithmetic())
    return builder.build([y, x], [t, s])


def test_whole_graph_comes_back_through_a_second_builder() -> None:
    graph = parse(two_operators())
    builder = ModelBuilder()
    for tensor in graph.tensors.values():
        assert tensor.quantisation is not None
        quantisation = tensor.quantisation
        builder.tensor(
            tensor.shape,
            tensor.dtype,
            scale=quantisation.scales,
            zero_point=quantisation.zero_points,
            data=tensor.data,
            name=tensor.name,
        )
    for operator in graph.operators:
        builder.operator(operator.kind, operator.inputs, operator.outputs, operator.attributes)
    again = builder.build(graph.inputs, graph.outputs)
    assert described(parse(again)) == described(graph)
    assert again == two_operators()
    assert (graph.inputs, graph.outputs) == ((1, 0), (4, 3))


def test_custom_operator_keeps_its_name() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 4), DType.FLOAT32) for _ in range(2))
    builder.operator("CUSTOM:Own", [x], [y], custom_options=b"abc")
    assert parse(builder.build([x], [y])).operators[0].kind == "CUSTOM:Own"


@pytest.mark.parametrize("shape", [(3,), (1, 3, 7, 5)])
def test_tensor_data_is_aligned_as_the_schema_demands(shape: tuple[int, ...]) -> None:
    builder = ModelBuilder()
    values = np.arange(1, 1 + np.prod(shape)).reshape(shape)
    for dtype in (DType.UINT8, DType.INT32, DType.INT8):
        builder.tensor(shape, dtype, scale=1.0, data=values)
    data = builder.build([], [0])
    for dtype in ("uint8", "int32"):
        place = data.index(values.astype(dtype).tobytes())
        assert place % 16 == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"shape": (2,), "dtype": DType.INT8, "data": [1, 2, 3]}, "its data"),
        ({"shape": (1,), "dtype": DType.INT8, "data": [128]}, "do not fit int8"),
        ({"shape": (1,), "dtype": DType.UINT8, "data": [-1]}, "do not fit uint8"),
        ({"shape": (4,), "dtype": DType.INT8, "scale": [1, 2], "zero_point": [1, 2, 3]}, "2 scales but 3 zero points"),
    ],
)
def test_contradictions_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        ModelBuilder().tensor(**arguments)  # type: ignore[arg-type]


def test_numbers_of_no_tensor_are_refused() -> None:
    builder = ModelBuilder()
    x = builder.tensor((1,), DType.INT8)
    with pytest.raises(ModelError, match="no tensor 5"):
        builder.operator("RELU", [5], [x])
    with pytest.raises(ModelError, match="no tensor 6"):
        builder.build([6], [x])


def test_operators_that_cannot_be_written_are_refused() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor((1,), DType.INT8) for _ in range(2))
    with pytest.raises(UnsupportedError, match="options of WHILE cannot be written"):
        builder.operator("WHILE", [x], [y])
    with pytest.raises(UnsupportedError, match="SOFTMAX takes Softmax attributes"):
        builder.operator("SOFTMAX", [x], [y], ops.Gelu())
    with pytest.raises(UnsupportedError, match="RELU takes no attributes"):
        builder.operator("RELU", [x], [y], ops.Gelu())
    with pytest.raises(UnsupportedError, match="OTHER cannot be written"):
        builder.tensor((1,), DType.OTHER)


@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
@pytest.mark.parametrize("kind", ["SHAPE", "RANK", "BROADCAST_TO"])
def test_litert_has_the_version_that_is_asked_for(kind: str, dtype: DType) -> None:
    builder = ModelBuilder()
    x = builder.tensor((1, 4), dtype, scale=0.1)
    y = builder.tensor((1, 4), dtype, scale=0.1) if kind == "BROADCAST_TO" else builder.tensor((2,), DType.INT32)
    sizes = [builder.tensor((2,), DType.INT32, data=[1, 4])] if kind == "BROADCAST_TO" else []
    builder.operator(kind, [x, *sizes], [y])
    Interpreter(model_content=builder.build([x], [y])).allocate_tensors()
