"""ONNX models whole: the NPU's parts with ONNX Runtime around them, and how far that is from ONNX Runtime alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

import rocketnpu
from onnx_nets import Net, Value, random_net
from rocketnpu.cli.main import VERBS
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import InputError, UnsupportedError
from rocketnpu.family import family_of
from rocketnpu.graph import Graph
from rocketnpu.model.onnx.reader import OnnxModel, convert, load
from rocketnpu.onnx_host.compare import compare_onnx
from rocketnpu.onnx_host.inference import OnnxInference
from rocketnpu.onnx_host.pieces import Piece, pieces
from rocketnpu.onnx_host.runtime import run_session, session, tensors
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy

Array = npt.NDArray[Any]
SHARED = Path(__file__).resolve().parents[3] / "shared"
MODEL = SHARED / "models" / "efficientnet_lite0_ort_qdq_u8.onnx"
needs_model = pytest.mark.skipif(not MODEL.exists(), reason="EfficientNet-Lite0 as ONNX is not in this clone")


def modelled(model: OnnxModel, inputs: list[Array]) -> list[Array]:
    """Compute a model's outputs with the chip's integer model in place of the NPU."""
    values = {model.ports[n].value: array for n, array in zip(model.graph.inputs, inputs, strict=True)}
    for step in pieces(model, plan(model.graph).parts):
        if isinstance(step, Piece):
            found = run_session(session(step.model, fused=True), step.outputs, {n: values[n] for n in step.inputs})
            values.update(zip(step.outputs, found, strict=True))
        else:
            values |= part_values(model, step, values)
    return [values[value.name] for value in model.proto.graph.output]


def part_values(model: OnnxModel, part: Graph, values: dict[str, Array]) -> dict[str, Array]:
    given = {n: model.ports[n].layout.to_graph(values[model.ports[n].value]) for n in part.inputs}
    made = family_of("rk3588").model(part, given, Policy())
    return {
        model.ports[n].value: model.ports[n].layout.to_value(made[n], model.ports[n].layout.file_shape)
        for n in part.outputs
    }


def run(model: OnnxModel, inputs: list[Array]) -> list[Array]:
    with OnnxInference(model, SimulatorDevice(), cache="off") as inference:
        return inference.run(inputs)


@pytest.mark.parametrize("seed", range(30))
def test_random_nets_give_what_the_integer_model_gives(seed: int) -> None:
    net = random_net(seed)
    model = convert(net.model(*net.ends))
    for found, wanted in zip(run(model, net.feed(seed)), modelled(model, net.feed(seed)), strict=True):
        np.testing.assert_array_equal(found, wanted)


def mixed() -> Net:
    """Two parts with a Softmax between, whose result is read twice, and a branch that only the host runs."""
    net = Net(21)
    x = net.conv(net.input((1, 3, 9, 9)), 16, (3, 3), pads=[1, 1, 1, 1], clamp="Relu")
    result, reduced = net.name("soft"), net.name("reduced")
    net.node("Softmax", [net.real(x)], [result], axis=1)
    net.node("ReduceMax", [result], [reduced], axes=[1], keepdims=1)
    y = net.conv(net.whole(result, x.shape, 0.1, low=0.0), 8, (1, 1))
    z = net.pair("Add", y, net.conv(x, 8, (1, 1)))
    net.ends = [z, net.whole(reduced, (1, 1, 9, 9), 0.1, low=0.0)]
    return net


def test_the_host_runs_what_lies_between() -> None:
    net = mixed()
    model = convert(net.model(*net.ends))
    assert len(plan(model.graph).parts) == 2
    for found, wanted in zip(run(model, net.feed(1)), modelled(model, net.feed(1)), strict=True):
        np.testing.assert_array_equal(found, wanted)
    alone = run_session(session(model.proto, fused=False), None, {net.inputs[0].name: net.feed(1)[0]})
    for found, wanted, end in zip(run(model, net.feed(1)), alone, net.ends, strict=True):
        assert np.abs(found - wanted).max() <= 3 * end.scale


def test_bodies_of_nodes_read_what_the_npu_made() -> None:
    net = Net(22)
    x = net.conv(net.input((1, 3, 6, 6)), 16, (3, 3))
    real, flag, result = net.real(x), net.constant(np.array(True)), net.name("chosen")
    branches = []
    for kind in ("Abs", "Neg"):
        output = helper.make_tensor_value_info(f"out{kind}", TensorProto.FLOAT, x.shape)
        branches.append(helper.make_graph([helper.make_node(kind, [real], [f"out{kind}"])], kind, [], [output]))
    net.node("If", [flag], [result], then_branch=branches[0], else_branch=branches[1])
    model = convert(net.model(net.whole(result, x.shape, x.spread, low=0.0)))
    (found,), (wanted,) = run(model, net.feed(2)), modelled(model, net.feed(2))
    np.testing.assert_array_equal(found, wanted)
    assert (found >= 0).all()
    assert found.any()


def test_a_node_that_is_taken_in_part_stays_whole_with_the_host() -> None:
    """A border of 20 pixels is an operator of its own before a convolution whose kernel the NPU does not take."""
    net = Net(23)
    x = net.conv(net.input((1, 16, 40, 40)), 16, (1, 1))
    model = convert(net.model(net.conv(x, 16, (35, 35), pads=[20, 20, 20, 20])))
    decisions = {decision.kind: decision for decision in plan(model.graph).decisions}
    assert "PAD" in decisions
    assert "belongs to CONV_2D" in decisions["PAD"].reason
    (found,), (wanted,) = run(model, net.feed(3)), modelled(model, net.feed(3))
    np.testing.assert_array_equal(found, wanted)


def test_integers_may_be_inputs_and_outputs() -> None:
    net = Net(24)
    x = Value("bytes", (1, 3, 8, 8), 1 / 64, 128, 74 / 64)
    net.inputs.append(helper.make_tensor_value_info("bytes", TensorProto.UINT8, x.shape))
    y = net.conv(x, 16, (3, 3))
    proto = net.model(y)
    proto.graph.output.append(helper.make_tensor_value_info(y.name, TensorProto.UINT8, y.shape))
    model = convert(proto)
    given = np.random.default_rng(0).integers(0, 256, x.shape, np.uint8)
    real, whole = run(model, [given])
    assert whole.dtype == np.uint8
    np.testing.assert_allclose(real, (whole.astype(np.float32) - y.zero) * np.float32(y.scale), rtol=1e-6)
    assert np.abs(whole.astype(int) - tensors(model, [given], fused=False)[model.graph.outputs[1]]).max() <= 1


def test_inputs_that_do_not_fit_are_refused() -> None:
    net = mixed()
    model = convert(net.model(*net.ends))
    with OnnxInference(model, SimulatorDevice(), cache="off") as inference:
        with pytest.raises(InputError, match="1 inputs, 0 were given"):
            inference.run([])
        with pytest.raises(InputError, match=r"shape \(1, 3, 9, 9\)"):
            inference.run([np.zeros((1, 9, 9, 3), np.float32)])


def test_a_model_of_which_the_npu_takes_nothing_is_refused() -> None:
    node = helper.make_node("Softmax", ["x"], ["y"])
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 8)) for name in "xy"]
    model = convert(helper.make_model(helper.make_graph([node], "soft", infos[:1], infos[1:])))
    with pytest.raises(UnsupportedError, match="Softmax"):
        OnnxInference(model, SimulatorDevice())
    net = mixed()
    with pytest.raises(UnsupportedError, match="require_full"):
        OnnxInference(convert(net.model(*net.ends)), SimulatorDevice(), require_full=True)


def test_compare_shows_both_modes_and_both_ends() -> None:
    net = mixed()
    model = convert(net.model(*net.ends))
    found = compare_onnx(model, net.feed(4), Policy())
    assert found.is_sound
    assert {node.row.kind for node in found.nodes if node.row.difference} >= {"CONV_2D"}
    assert len(found.outputs) == 2
    for end in found.outputs:
        assert end.unfused.maximum <= 3
        assert end.fused.maximum <= 3


# -- verbs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    net = Net(25)
    x = net.conv(net.input((1, 3, 16, 16), scale=1 / 127.5), 16, (3, 3), strides=[2, 2], clamp="Relu")
    rows = net.moved("Flatten", net.global_average(x), (1, 16), axis=1)
    path = tmp_path / "net.onnx"
    onnx.save(net.model(net.gemm(rows, 10)), path)
    return path


def verb(name: str, *arguments: object) -> str:
    result = CliRunner().invoke(VERBS[name].load(), [str(argument) for argument in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert not result.return_value
    return result.stdout


def test_verbs_take_onnx_files(file: Path, tmp_path: Path) -> None:
    assert "100.00%" in verb("inspect", "-m", file)
    summary = json.loads(verb("inspect", "-m", file, "--json"))
    assert summary["parts"] == 1
    written = json.loads(verb("compile", "-m", file, "-o", tmp_path / "net.rktprog", "--json"))
    assert [Path(entry["file"]).exists() for entry in written] == [True]
    assert "end to end" in verb("compare", "-m", file)
    document = json.loads(verb("compare", "-m", file, "--json"))
    assert document["sound"] is True
    assert document["outputs"][0]["from unfused"]["maximum"] <= 2
    assert "estimated" in verb("estimate", "-m", file)


def test_classify_takes_onnx_files(file: Path) -> None:
    picture = Path(__file__).resolve().parents[2] / "examples" / "hens.jpg"
    document = json.loads(verb("classify", "-i", picture, "-m", file, "-d", "simulator", "--json"))
    assert len(document["results"]) == 5


def test_open_shapes_are_given_on_the_command_line(tmp_path: Path) -> None:
    net = Net(26)
    proto = net.model(net.conv(net.input((1, 3, 16, 16)), 16, (3, 3)))
    for value in (proto.graph.input[0], proto.graph.output[0]):
        value.type.tensor_type.shape.dim[2].dim_param = "rows"
    path = tmp_path / "open.onnx"
    onnx.save(proto, path)
    assert "1x3x20x16" not in verb("inspect", "-m", path, "--input", f"{proto.graph.input[0].name}=1x3x16x16")
    with pytest.raises(Exception, match="--input"):
        verb("inspect", "-m", path)


@needs_model
def test_efficientnet_names_the_hens_as_onnx_runtime_does() -> None:
    from rocketnpu.scores import picture_input

    with rocketnpu.Inference(MODEL, device="simulator", cache="off") as inference:
        for name in ("hens.jpg", "cat.bmp", "parrot.jpg"):
            picture = picture_input(SHARED / "pictures" / name, inference.graph)
            (found,) = inference.run([picture])
            (wanted,) = run_session(session(onnx.load(MODEL), fused=True), None, {"x": picture})
            assert found.argmax() == wanted.argmax()


@needs_model
def test_efficientnet_runs_whole_under_proven_rules_too() -> None:
    for policy in (Policy(), Policy(allow_unproven=False)):
        divided = plan(load(MODEL).graph, policy)
        assert len(divided.parts) == 1
        assert divided.coverage == 1.0
        assert {d.kind for d in divided.decisions if not d.supported} == {"QUANTIZE", "TRANSPOSE", "DEQUANTIZE"}


def test_dead_channels_of_uint8_features_are_widened() -> None:
    net = Net(27)
    x = net.conv(net.input((1, 8, 6, 6)), 16, (1, 1), clamp="Relu")
    model = net.model(net.conv(x, 16, (3, 3), pads=[1, 1, 1, 1]))
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    conv = [node for node in model.graph.node if node.op_type == "Conv"][1]
    reals = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    weights, bias = (reals[name] for name in conv.input[1:3])
    for name, value in ((weights.input[1], 1e-9), (bias.input[1], 1e-9 * x.scale), (bias.input[0], -(2**31) + 1000)):
        array = onnx.numpy_helper.to_array(held[name]).copy()
        array[3] = value
        held[name].CopyFrom(onnx.numpy_helper.from_array(array, name))
    read = convert(model)
    assert read.graph.tensors[read.graph.operators[3].inputs[0] or 0].dtype.value == "uint8"
    assert len(plan(read.graph).parts) == 1
    found = compare_onnx(read, net.feed(0), Policy())
    assert found.is_sound
    assert max(node.row.difference.maximum for node in found.nodes if node.row.difference) <= 1
