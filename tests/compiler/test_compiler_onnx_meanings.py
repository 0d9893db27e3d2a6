"""What ONNX means by attributes that its versions left out, and by shapes and factors that look like others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_nets import Net, Value
from rocketnpu.model.onnx.reader import convert
from rocketnpu.onnx_host.compare import compare_onnx
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy

MAP = (1, 8, 6, 6)
POLICY = Policy(allow_unproven=True)


def on_npu(net: Net, end: Value) -> set[str]:
    """Compare a net with ONNX Runtime, and return the kinds of operators that the NPU takes."""
    model = convert(net.model(end))
    taken = {decision.kind for decision in plan(model.graph, POLICY).decisions if decision.supported}
    found = compare_onnx(model, net.feed(1), POLICY)
    assert found.is_sound
    assert all(output.unfused.maximum <= 1 for output in found.outputs)
    return taken


def moved(net: Net, kind: str, extra: list[str], shape: tuple[int, ...], **attributes: Any) -> Value:
    return net.moved(kind, net.input(MAP, zero=100), shape, extra, **attributes)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("where", ["half_pixel", "asymmetric"])
@pytest.mark.parametrize("factor", [2.0, 2.1, 2.15])
def test_a_map_is_enlarged_by_the_factor_not_by_what_became_of_its_size(mode: str, where: str, factor: float) -> None:
    net = Net()
    factors = net.constant(np.array([1, 1, factor, factor], np.float32))
    rounding = {"nearest_mode": "floor" if where == "asymmetric" else "round_prefer_floor"}
    attributes = {"mode": mode, "coordinate_transformation_mode": where, **(rounding if mode == "nearest" else {})}
    taken = on_npu(net, moved(net, "Resize", ["", factors], (1, 8, 12, 12), **attributes))
    assert taken == ({f"RESIZE_{'BILINEAR' if mode == 'linear' else 'NEAREST_NEIGHBOR'}"} if factor == 2 else set())


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_the_first_resize_counted_from_the_corner(mode: str) -> None:
    net = Net()
    net.opset = 10
    factors = net.constant(np.array([1, 1, 2, 2], np.float32))
    assert on_npu(net, moved(net, "Resize", [factors], (1, 8, 12, 12), mode=mode))


@pytest.mark.parametrize("value", [0.0, 0.7, -3.0])
def test_the_oldest_pad_had_its_value_as_an_attribute(value: float) -> None:
    net = Net()
    net.opset = 10
    assert on_npu(net, moved(net, "Pad", [], (1, 8, 8, 8), pads=[0, 0, 1, 1, 0, 0, 1, 1], value=value))


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("value", [None, 0, 7])
def test_a_pad_of_integers_adds_the_integer(kind: str, value: int | None) -> None:
    net = Net(form="qoperator", kind=kind)
    extra = [net.numbers(0, 0, 1, 1, 0, 0, 1, 1)]
    extra += [] if value is None else [net.constant(np.array(value, kind))]
    assert on_npu(net, moved(net, "Pad", extra, (1, 8, 8, 8)))


@pytest.mark.parametrize("kind", ["Gemm", "MatMul"])
@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 1), (1,), (4, 1), (4, 4)])
def test_a_bias_for_each_row_is_none_for_each_column(kind: str, shape: tuple[int, ...]) -> None:
    net = Net()
    given, weights, product = net.input((4, 8)), net.name("weights"), net.name("product")
    data = np.random.default_rng(1).integers(-90, 90, (8, 4)).astype(np.int8)
    held = [net.constant(data), net.constant(np.float32(0.01)), net.constant(np.int8(0))]
    net.node("DequantizeLinear", held, [weights])
    bias = net.constant(np.random.default_rng(2).normal(0, 2, shape).astype(np.float32))
    if kind == "Gemm":
        net.node(kind, [net.real(given), weights, bias], [product])
    else:
        between = net.name("between")
        net.node(kind, [net.real(given), weights], [between])
        net.node("Add", [between, bias], [product])
    taken = on_npu(net, net.whole(product, (4, 4), 3.0))
    assert ("FULLY_CONNECTED" in taken) == (shape[0] == 1 or shape == (4,))


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("function", ["Sqrt", "Log", "Reciprocal"])
def test_what_is_no_number_becomes_the_lowest_byte(kind: str, function: str) -> None:
    net = Net(kind=kind)
    assert on_npu(net, net.single(function, net.input(MAP, zero=100), 2.0)) == {"BYTE_FUNCTION"}
