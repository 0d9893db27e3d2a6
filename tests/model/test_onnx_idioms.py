"""What exporters and quantisers of ONNX really write: shuffles, views in the wrong place, dequantised constants."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnx_nets import Net, Value
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import ModelError
from rocketnpu.graph import Graph
from rocketnpu.model.numerics import remark
from rocketnpu.model.onnx.reader import convert
from rocketnpu.model.onnx.views import blocks_of
from rocketnpu.onnx_host.inference import OnnxInference
from rocketnpu.onnx_host.runtime import run_session, session
from rocketnpu.partition.plan import plan

BORDERS = {"QUANTIZE", "DEQUANTIZE", "TRANSPOSE"}


def left(graph: Graph) -> list[str]:
    """Return the operators inside a model that stay with the host."""
    return [d.kind for d in plan(graph).decisions if not d.supported and d.kind not in BORDERS]


def test_blocks_of_axes() -> None:
    assert blocks_of((1, 48, 12), (1, 2, 24, 12)) == [([0], [0]), ([1], [1, 2]), ([2], [3])]
    assert blocks_of((1, 2, 24, 1), (48,)) == [([0], []), ([1, 2], [0]), ([3], [])]
    assert blocks_of((6, 4), (4, 6)) == [([0, 1], [0, 1])]
    assert blocks_of((2,), (3,)) is None
    assert blocks_of((), (1, 1)) == [([], [0]), ([], [1])]


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_a_channel_shuffle_is_one_part(form: str) -> None:
    net = Net(1, form)
    x = net.conv(net.input((1, 3, 8, 8)), 24, (3, 3), pads=[1, 1, 1, 1])
    x = net.moved("Reshape", x, (1, 2, 12, 8, 8), [net.numbers(1, 2, 12, 8, 8)])
    x = net.moved("Transpose", x, (1, 12, 2, 8, 8), perm=[0, 2, 1, 3, 4])
    x = net.moved("Reshape", x, (1, 24, 8, 8), [net.numbers(1, -1, 8, 8)])
    model = convert(net.model(net.conv(x, 8, (1, 1))))
    assert len(plan(model.graph).parts) == 1
    assert left(model.graph) == []


def test_a_mean_that_becomes_a_row_before_it_is_quantised_is_taken() -> None:
    net = Net(2)
    x = net.conv(net.input((1, 3, 8, 8)), 24, (3, 3))
    model = convert(net.model(net.gemm(net.averaged_rows(x, "Flatten"), 10)))
    assert len(plan(model.graph).parts) == 1
    assert left(model.graph) == []


def with_host_node(net: Net, x: Value) -> onnx.ModelProto:
    """Behind a convolution a node for the host that reads a dequantised constant; that is an output too."""
    held = net.held((1, x.shape[1], 1, 1), x.spread)
    constant, result = net.real(held), net.name("host")
    net.node("Mod", [net.real(x), constant], [result], fmod=1)
    model = net.model()
    for name, shape in ((result, x.shape), (constant, held.shape)):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return model


def test_a_host_node_may_read_a_dequantised_constant() -> None:
    net = Net(3)
    model = convert(with_host_node(net, net.conv(net.input((1, 3, 8, 8)), 16, (1, 1))))
    given = net.feed(0)
    with OnnxInference(model, SimulatorDevice(), cache="off") as inference:
        found = inference.run(given)
    wanted = run_session(session(model.proto, fused=False), None, {net.inputs[0].name: given[0]})
    np.testing.assert_array_equal(found[1], wanted[1])
    assert found[0].shape == wanted[0].shape
    assert [d.kind for d in plan(model.graph).decisions if d.kind.startswith("ONNX:")] == [
        "ONNX:Mod",
        "ONNX:DequantizeLinear",
    ]


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_borders_that_repeat_the_map(mode: str) -> None:
    net = Net(4)
    net.opset = 19
    x = net.conv(net.input((1, 3, 8, 8)), 16, (1, 1))
    x = net.moved("Pad", x, (1, 16, 11, 9), [net.numbers(0, 0, 2, 1, 0, 0, 1, 0)], mode=mode)
    model = convert(net.model(net.conv(x, 8, (3, 3))))
    if mode == "wrap":
        (reason,) = [d.reason for d in plan(model.graph).decisions if d.kind == "ONNX:Pad"]
        assert "mode wrap" in reason
        return
    assert len(plan(model.graph).parts) == 1
    assert left(model.graph) == []


def test_dynamic_quantisation_is_named() -> None:
    net = Net(5)
    x = net.conv(net.input((1, 3, 8, 8)), 16, (1, 1))
    whole, scale, zero, product = (net.name(what) for what in ("whole", "scale", "zero", "product"))
    net.node("DynamicQuantizeLinear", [net.real(x)], [whole, scale, zero])
    weights = net.constant(np.ones((8, 8), np.uint8))
    net.node("MatMulInteger", [whole, weights, zero], [product])
    model = net.model()
    model.graph.output.append(helper.make_tensor_value_info(product, TensorProto.INT32, (1, 16, 8, 8)))
    found = convert(model).graph
    reasons = [d.reason for d in plan(found).decisions if d.kind.startswith("ONNX:")]
    assert len(reasons) == 2
    assert all("quantises at run time" in reason for reason in reasons)
    assert remark(found) == ""  # a convolution of it is quantised as the NPU wants it
    alone = helper.make_graph(
        [helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])],
        "dynamic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 8))],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, (1, 8))],
    )
    found = convert(helper.make_model(alone, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)).graph
    assert "dynamic quantisation" in remark(found)


def test_a_model_of_real_numbers_is_named() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    weights = onnx.numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        [node],
        "floats",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2, 4, 4))],
        [weights],
    )
    found = convert(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)).graph
    assert remark(found).startswith("a float model")


@pytest.mark.parametrize(
    ("size", "scale", "pads", "words"),
    [
        (1 << 40, 2.0, [0] * 4, "has a dimension of 1099511627776"),
        (8, 1e30, [0] * 4, "enlarges by"),
        (8, float("nan"), [0] * 4, "enlarges by"),
        (8, 2.0, [-9, 0, 0, 0], "has pads"),
    ],
)
def test_sizes_that_no_model_has_are_refused_before_anybody_works_with_them(
    size: int, scale: float, pads: list[int], words: str
) -> None:
    net = Net(6)
    x = net.input((1, 3, 8, size))
    scales = net.constant(np.array([1, 1, scale, scale], np.float32), "scales")
    y = net.moved("Resize", x, (1, 3, 16, 16), ["", scales], mode="nearest")
    y = net.moved("MaxPool", y, (1, 3, 15, 15), kernel_shape=[2, 2], pads=pads)
    with pytest.raises(ModelError, match=words):
        convert(net.model(y))


def test_negative_sizes_are_open_ones() -> None:
    net = Net(7)
    model = net.model(net.conv(net.input((1, 3, 8, 8)), 8, (1, 1)))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    found = convert(model).graph
    assert found.tensors[found.inputs[0]].shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("factor", "attributes", "said"),
    [
        (0.1, {"mode": "nearest"}, "which is nothing"),
        (2.0, {"mode": "nearest", "nearest_mode": "random"}, "pixels by random"),
        (2.0, {"mode": "nearest", "coordinate_transformation_mode": "random"}, "coordinates by random"),
    ],
)
def test_resizes_that_nobody_defines_stay_with_the_host(factor: float, attributes: dict[str, str], said: str) -> None:
    net = Net(5)
    x = net.conv(net.input((1, 3, 8, 8)), 8, (3, 3), pads=[1, 1, 1, 1])
    factors = net.constant(np.array([1, 1, factor, 2], np.float32))
    x = net.moved("Resize", x, (1, 8, int(8 * factor), 16), ["", factors], **attributes)
    (reason,) = [d.reason for d in plan(convert(net.model(x)).graph).decisions if d.kind == "ONNX:Resize"]
    assert said in reason
