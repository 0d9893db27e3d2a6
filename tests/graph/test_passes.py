"""Graph passes, each from a small graph: what it makes, what it leaves alone, and that the graph stays valid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from bench import Case
from pairs import pairs
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.graph.passes import PASSES, flatten, fold_padding, fuse_activation, fuse_add, run_passes
from rocketnpu.graph.verify import verify
from rocketnpu.inspect.reference import operator_reference
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.policy import Policy
from rocketnpu.rockchip.family import RK3588_FAMILY
from sheets import kinds

CONV = ops.Conv2D((1, 1), Padding.VALID)


class Sketch:
    """A model of INT8 maps, all of scale 0.1 and zero point 3 unless said otherwise."""

    def __init__(self) -> None:
        self.builder = ModelBuilder()
        self.random = np.random.default_rng(0)

    def map(self, *shape: int, scale: float = 0.1, zero: int = 3) -> int:
        return self.builder.tensor(shape, DType.INT8, scale=scale, zero_point=zero)

    def constant(self, values: object) -> int:
        array = np.asarray(values, np.int32)
        return self.builder.tensor(array.shape, DType.INT32, data=array)

    def weights(self, *shape: int) -> int:
        data = self.random.integers(-127, 128, shape).astype(np.int8)
        return self.builder.tensor(shape, DType.INT8, scale=0.02, data=data)

    def bias(self, count: int) -> int:
        return self.builder.tensor((count,), DType.INT32, scale=0.002, data=np.zeros(count, np.int32))

    def conv(self, source: int, target: int, weights: int, count: int, attributes: ops.Conv2D = CONV) -> None:
        self.builder.operator("CONV_2D", [source, weights, self.bias(count)], [target], attributes)

    def graph(self, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
        return tflite.parse(self.builder.build(inputs, outputs))


def refuse(graph: Graph, operator: object) -> bool:
    del graph, operator
    return False


def padded(
    edges: object, attributes: ops.Conv2D = CONV, *, padded_scale: float = 0.1, kernel: int = 3, also: bool = False
) -> Graph:
    """PAD of an 8x8x4 map, then a convolution; ``also`` makes the padded map an output."""
    sketch, pads = Sketch(), np.asarray(edges)
    source = sketch.map(1, 8, 8, 4)
    middle = sketch.map(*(np.array([1, 8, 8, 4]) + pads.sum(1)), scale=padded_scale)
    rows, columns = (8 + int(pads[axis].sum()) for axis in (1, 2))
    if attributes.padding is Padding.VALID:
        rows, columns = ((n - kernel) // attributes.stride[0] + 1 for n in (rows, columns))
    target = sketch.map(1, rows, columns, 5, scale=3.0)
    sketch.builder.operator("PAD", [source, sketch.constant(pads)], [middle])
    channels = 4 + int(pads[3].sum())
    sketch.conv(middle, target, sketch.weights(5, kernel, kernel, channels), 5, attributes)
    return sketch.graph([source], [target, middle] if also else [target])


def test_padding_goes_into_the_convolution() -> None:
    graph = fold_padding(padded([(0, 0), (1, 2), (0, 1), (0, 0)]))
    verify(graph)
    (operator,) = graph.operators
    assert operator.attributes == ops.Conv2D((1, 1), Padding.VALID, pads=((1, 2), (0, 1)))
    assert operator.inputs[0] == graph.inputs[0]


def test_a_padded_map_that_others_see_stays() -> None:
    graph = fold_padding(padded([(0, 0), (1, 1), (1, 1), (0, 0)], also=True))
    verify(graph)
    assert kinds(graph) == ["PAD", "CONV_2D"]
    assert graph.operators[1].inputs[0] == graph.inputs[0]


@pytest.mark.parametrize(
    "graph",
    [
        padded([(0, 0), (1, 1), (1, 1), (0, 2)]),
        padded([(0, 0), (1, 1), (1, 1), (0, 0)], ops.Conv2D((1, 1), Padding.SAME)),
        padded([(0, 0), (1, 1), (1, 1), (0, 0)], padded_scale=0.2),
        padded([(0, 0), (0, 0), (0, 3), (0, 0)]),
    ],
    ids=["channels", "SAME", "another scale", "a window in the padding alone"],
)
def test_other_padding_stays(graph: Graph) -> None:
    assert fold_padding(graph) is graph


def test_a_depthwise_convolution_folds_its_padding() -> None:
    sketch = Sketch()
    source, middle, target = sketch.map(1, 8, 8, 4), sketch.map(1, 9, 9, 4), sketch.map(1, 4, 4, 4)
    sketch.builder.operator("PAD", [source, sketch.constant([(0, 0), (0, 1), (0, 1), (0, 0)])], [middle])
    attributes = ops.DepthwiseConv2D((2, 2), Padding.VALID)
    sketch.builder.operator(
        "DEPTHWISE_CONV_2D", [middle, sketch.weights(1, 3, 3, 4), sketch.bias(4)], [target], attributes
    )
    graph = fold_padding(sketch.graph([source], [target]))
    verify(graph)
    assert graph.operators[0].attributes == replace(attributes, pads=((0, 1), (0, 1)))


def pool_behind(kind: str, value: int | None, edges: object = ((0, 0), (1, 2), (0, 1), (0, 0))) -> Graph:
    """PAD of zeros, or of a value, then a pool of 3x3."""
    sketch, pads = Sketch(), np.asarray(edges)
    source, middle = sketch.map(1, 8, 8, 4), sketch.map(*(np.array([1, 8, 8, 4]) + pads.sum(1)))
    target = sketch.map(1, *(8 + int(pads[axis].sum()) - 2 for axis in (1, 2)), 4)
    inputs = [source, sketch.constant(pads)]
    if value is not None:
        tensor = sketch.builder.tensor((1,), DType.UINT8, scale=0.1, zero_point=128, data=np.array([value]))
        inputs.append(tensor)
    sketch.builder.operator("PAD" if value is None else "PADV2", inputs, [middle])
    sketch.builder.operator(kind, [middle], [target], ops.Pool2D((1, 1), Padding.VALID, (3, 3)))
    return sketch.graph([source], [target])


@pytest.mark.parametrize(
    ("kind", "value", "border"),
    [("MAX_POOL_2D", None, None), ("MAX_POOL_2D", 0, 0), ("AVERAGE_POOL_2D", None, None)],
)
def test_a_pool_folds_its_padding(kind: str, value: int | None, border: int | None) -> None:
    graph = fold_padding(pool_behind(kind, value))
    verify(graph)
    assert kinds(graph) == [kind]
    assert graph.operators[0].attributes == ops.Pool2D(
        (1, 1), Padding.VALID, (3, 3), pads=((1, 2), (0, 1)), border=border
    )


def test_a_pool_leaves_padding_that_it_cannot_give() -> None:
    for graph in (
        pool_behind("AVERAGE_POOL_2D", 0),
        pool_behind("MAX_POOL_2D", None, [(0, 0), (3, 0), (0, 0), (0, 0)]),
    ):
        assert fold_padding(graph) is graph


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("side", [(1, 0), (1, 1), (2, 0), (2, 1)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_window_may_reach_over_the_padding_by_one_pixel_of_the_map(
    kernel: int, side: tuple[int, int], dilation: int
) -> None:
    """On each of the four sides."""
    reach = (kernel - 1) * dilation
    for more, folds in ((0, True), (1, False)):
        pads = np.zeros((4, 2), int)
        pads[side] = reach + more
        sketch = Sketch()
        source, middle = sketch.map(1, 8, 8, 4), sketch.map(*(np.array([1, 8, 8, 4]) + pads.sum(1)))
        target = sketch.map(1, *(8 + int(pads[axis].sum()) - reach for axis in (1, 2)), 5, scale=3.0)
        sketch.builder.operator("PAD", [source, sketch.constant(pads)], [middle])
        attributes = ops.Conv2D((1, 1), Padding.VALID, (dilation, dilation))
        sketch.conv(middle, target, sketch.weights(5, kernel, kernel, 4), 5, attributes)
        graph = fold_padding(sketch.graph([source], [target]))
        assert kinds(graph) == (["CONV_2D"] if folds else ["PAD", "CONV_2D"])


def test_two_convolutions_fold_the_same_padding() -> None:
    sketch = Sketch()
    source, middle = sketch.map(1, 8, 8, 4), sketch.map(1, 10, 10, 4)
    sketch.builder.operator("PAD", [source, sketch.constant([(0, 0), (1, 1), (1, 1), (0, 0)])], [middle])
    targets = [sketch.map(1, 8, 8, 5), sketch.map(1, 6, 6, 2)]
    sketch.conv(middle, targets[0], sketch.weights(5, 3, 3, 4), 5)
    sketch.conv(middle, targets[1], sketch.weights(2, 5, 5, 4), 2)
    graph = fold_padding(sketch.graph([source], targets))
    verify(graph)
    assert kinds(graph) == ["CONV_2D", "CONV_2D"]
    assert middle not in graph.tensors


def rectified(kind: str, *, scale: float = 0.1, also: bool = False, own: Activation = Activation.NONE) -> Graph:
    sketch = Sketch()
    source, middle, target = sketch.map(1, 8, 8, 4), sketch.map(1, 8, 8, 5), sketch.map(1, 8, 8, 5, scale=scale)
    sketch.conv(source, middle, sketch.weights(5, 1, 1, 4), 5, ops.Conv2D((1, 1), Padding.SAME, activation=own))
    sketch.builder.operator(kind, [middle], [target])
    return sketch.graph([source], [target, middle] if also else [target])


@pytest.mark.parametrize("kind", ["RELU", "RELU6", "RELU_N1_TO_1"])
def test_a_rectifier_is_fused(kind: str) -> None:
    graph = fuse_activation(rectified(kind))
    verify(graph)
    (operator,) = graph.operators
    assert operator.kind == "CONV_2D"
    assert getattr(operator.attributes, "activation", None) is Activation(kind)
    assert operator.outputs == graph.outputs


@pytest.mark.parametrize(
    "graph",
    [rectified("RELU", scale=0.2), rectified("RELU", also=True), rectified("RELU", own=Activation.RELU6)],
    ids=["another scale", "somebody else looks", "a convolution that has one"],
)
def test_other_rectifiers_stay(graph: Graph) -> None:
    assert fuse_activation(graph) is graph


def connected(*shape: int, reshape: bool = True, units: int = 7) -> Graph:
    sketch, row = Sketch(), int(np.prod(shape))
    source = current = sketch.map(*shape)
    if reshape:
        current = sketch.map(1, row)
        sketch.builder.operator("RESHAPE", [source, sketch.constant([1, row])], [current])
    target = sketch.map(1, units, scale=3.0)
    inputs = [current, sketch.weights(units, row), sketch.bias(units)]
    sketch.builder.operator("FULLY_CONNECTED", inputs, [target], ops.FullyConnected(Activation.RELU))
    return sketch.graph([source], [target])


@pytest.mark.parametrize("reshape", [True, False])
@pytest.mark.litert
def test_a_row_of_a_map_becomes_a_convolution(reshape: bool) -> None:
    before = connected(1, 3, 4, 5, reshape=reshape)
    graph = flatten(before)
    verify(graph)
    assert kinds(graph) == ["CONV_2D", "RESHAPE"]
    dense, weights = graph.operators[0], graph.tensors[graph.operators[0].inputs[1] or 0]
    assert dense.attributes == ops.Conv2D((1, 1), Padding.VALID, activation=Activation.RELU)
    assert (weights.shape, graph.inputs, graph.outputs) == ((7, 3, 4, 5), before.inputs, before.outputs)
    values = np.random.default_rng(1).integers(-128, 128, (1, 3, 4, 5)).astype(np.int8)
    (wanted,) = operator_reference(before, before.operators[-1], [values if not reshape else values.reshape(1, 60)])
    (found,) = operator_reference(graph, dense, [values])
    assert np.array_equal(found.reshape(1, 7), wanted)


@pytest.mark.parametrize("shape", [(1, 1, 1, 60), (2, 3, 4, 5)], ids=["one pixel", "two pictures"])
def test_other_rows_stay(shape: tuple[int, ...]) -> None:
    graph = connected(*shape)
    assert flatten(graph) is graph


@pytest.mark.parametrize(
    "graph",
    [connected(1, 32, 1, 2), padded([(0, 0), (16, 0), (5, 5), (0, 0)], kernel=17)],
    ids=["a kernel of 32 rows", "16 rows of padding"],
)
def test_what_the_chip_has_no_fields_for_stays(graph: Graph) -> None:
    assert kinds(RK3588_FAMILY.prepare(graph, Policy())) == kinds(graph)


def added(
    *,
    scales: tuple[float, float] = (0.1, 0.1),
    own: Activation = Activation.NONE,
    also: bool = False,
    twice: bool = False,
    swap: bool = False,
) -> Graph:
    """A convolution (of a map, or of two of them where ``twice``), and the sum with what it reads."""
    sketch = Sketch()
    source, middle = sketch.map(1, 8, 8, 4), sketch.map(1, 8, 8, 4, scale=scales[0])
    attributes = ops.Conv2D((1, 1), Padding.SAME, activation=own)
    sketch.conv(source, middle, sketch.weights(4, 3, 3, 4), 4, attributes)
    other = source
    if twice:
        other = sketch.map(1, 8, 8, 4, scale=scales[0])
        sketch.conv(source, other, sketch.weights(4, 1, 1, 4), 4, attributes)
    target = sketch.map(1, 8, 8, 4, scale=scales[1])
    operands = [other, middle] if swap else [middle, other]
    sketch.builder.operator("ADD", operands, [target], ops.Arithmetic(Activation.RELU))
    return sketch.graph([source], [target, middle] if also else [target])


@pytest.mark.parametrize("swap", [False, True])
def test_an_addition_goes_into_the_convolution(swap: bool) -> None:
    before = added(swap=swap)
    graph = fuse_add(before)
    verify(graph)
    (operator,) = graph.operators
    assert operator.kind == ops.CONV_ADD
    assert operator.inputs[0] == operator.inputs[2] == graph.inputs[0]
    assert operator.outputs == graph.outputs
    conv = before.operators[0].attributes
    assert operator.attributes == ops.ConvAdd(conv, before.tensors[1].quantisation.scale, 3, Activation.RELU)


def test_of_two_convolutions_the_later_one_adds() -> None:
    graph = fuse_add(added(twice=True))
    verify(graph)
    assert kinds(graph) == ["CONV_2D", ops.CONV_ADD]
    assert graph.operators[1].index == 1
    assert graph.operators[1].inputs[2] == graph.operators[0].outputs[0]


@pytest.mark.parametrize(
    "graph",
    [added(scales=(0.41, 0.2)), added(own=Activation.RELU), added(also=True)],
    ids=["a coarse tensor between", "an activation between", "somebody else looks"],
)
def test_other_additions_stay(graph: Graph) -> None:
    assert fuse_add(graph) is graph


def test_the_ratio_may_be_two() -> None:
    assert kinds(fuse_add(added(scales=(0.4, 0.2)))) == [ops.CONV_ADD]


@pytest.mark.parametrize("step", PASSES, ids=lambda step: step.__name__)
def test_nothing_changes_unless_accepted(step: Callable[..., Graph]) -> None:
    for graph in (padded([(0, 0), (1, 1), (1, 1), (0, 0)]), rectified("RELU"), connected(1, 3, 4, 5), added()):
        assert step(graph, refuse) is graph


def test_passes_work_together() -> None:
    """Padding, convolution, sum and rectifier become one operator."""
    sketch = Sketch()
    source, wide, middle = sketch.map(1, 8, 8, 4), sketch.map(1, 10, 10, 4), sketch.map(1, 8, 8, 4)
    total, target = sketch.map(1, 8, 8, 4), sketch.map(1, 8, 8, 4)
    sketch.builder.operator("PAD", [source, sketch.constant([(0, 0), (1, 1), (1, 1), (0, 0)])], [wide])
    sketch.conv(wide, middle, sketch.weights(4, 3, 3, 4), 4)
    sketch.builder.operator("ADD", [source, middle], [total], ops.Arithmetic())
    sketch.builder.operator("RELU6", [total], [target])
    graph = run_passes(sketch.graph([source], [target]))
    verify(graph)
    (operator,) = graph.operators
    assert isinstance(operator.attributes, ops.ConvAdd)
    assert operator.attributes.convolution.pads == ((1, 1), (1, 1))
    assert operator.attributes.activation is Activation.RELU6


@settings(max_examples=60)
@given(found=pairs())
def test_random_graphs_stay_valid(found: Case) -> None:
    before = found.graph
    graph = run_passes(before)
    verify(graph)
    assert (graph.inputs, graph.outputs) == (before.inputs, before.outputs)
    assert len(graph.operators) <= len(before.operators) + 1
    indices = [operator.index for operator in graph.operators]
    assert len(indices) == len(set(indices))


def test_explicit_padding_is_never_written_to_a_file() -> None:
    graph = fold_padding(padded([(0, 0), (1, 1), (1, 1), (0, 0)]))
    with pytest.raises(UnsupportedError, match="explicit padding"):
        operator_reference(graph, graph.operators[0], [np.zeros((1, 8, 8, 4), np.int8)])
