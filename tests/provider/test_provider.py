"""The execution provider in ONNX Runtime's Python: what it gives, what it costs in memory, and what it says."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from onnx_nets import Net, random_net
from provider_hosts import session
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import DeviceError
from rocketnpu.model.onnx.reader import convert
from rocketnpu.onnx_host.inference import OnnxInference
from rocketnpu.partition.plan import plan
from rocketnpu.provider import NAME, callbacks
from rocketnpu.provider import session as provider_session
from rocketnpu.provider.kernel import Kernel

pytestmark = pytest.mark.usefixtures("library")
PAGE = os.sysconf("SC_PAGESIZE")


def direct(net: Net, seed: int) -> list[Any]:
    with OnnxInference(convert(net.model(*net.ends)), SimulatorDevice(), cache="off") as inference:
        return inference.run(net.feed(seed))


def hosted(found: Any, net: Net, seed: int) -> list[Any]:
    return found.run(None, dict(zip([value.name for value in net.inputs], net.feed(seed), strict=True)))


def small() -> Net:
    net = Net(25)
    x = net.conv(net.input((1, 3, 16, 16)), 16, (3, 3), strides=[2, 2], clamp="Relu")
    rows = net.moved("Flatten", net.global_average(x), (1, 16), axis=1)
    net.ends = [net.gemm(rows, 10)]
    return net


def test_random_nets_give_what_a_direct_run_gives() -> None:
    parts, held = 0, (set(callbacks._kernels), set(callbacks._sessions))
    for seed in range(24):
        net = random_net(seed)
        model = net.model(*net.ends)
        wanted = len(plan(convert(model).graph).parts)
        if not wanted:
            continue
        found = session(model)
        assert len(callbacks._kernels) == wanted + len(held[0]), f"net {seed}"
        for mine, theirs in zip(hosted(found, net, seed), direct(net, seed), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        parts += wanted
        del found
        gc.collect()
    assert parts > 16
    assert (set(callbacks._kernels), set(callbacks._sessions)) == held


def _files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def test_memory_and_descriptors_stay_flat_over_1000_runs() -> None:
    net = small()
    found = session(net.model(*net.ends))
    for seed in range(50):
        hosted(found, net, seed)
    before, files = _memory(), _files()
    for _ in range(1000):
        hosted(found, net, 0)
    assert _files() == files
    assert _memory() - before < 1 << 20


def test_memory_stays_flat_over_sessions() -> None:
    net = small()
    data = net.model(*net.ends).SerializeToString()
    for _ in range(10):
        session(data)
    gc.collect()
    before, files = _memory(), _files()
    for _ in range(40):
        session(data)
    gc.collect()
    assert _files() <= files
    assert _memory() - before < 4 << 20
    assert not callbacks._kernels


def test_small_networks_stay_on_the_cpu_unless_asked() -> None:
    net = small()
    found = session(net.model(*net.ends), minimum_macs="1000000")
    assert not callbacks._kernels
    assert hosted(found, net, 1)[0].shape == (1, 10)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"colour": "red"}, "unknown option 'colour'; valid options are device"),
        ({"device": "moon"}, "'moon' is unknown"),
    ],
)
def test_options_that_are_none_are_told(option: dict[str, str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    net = small()
    # Python's part of ONNX Runtime 1.23 tries again without the provider then, and fails with words of its own.
    with pytest.raises(Exception, match=f"{words}|already been configured"):
        session(net.model(*net.ends), **option)
    assert words in capfd.readouterr().err


def test_require_full_refuses_what_does_not_run_whole() -> None:
    net = small()
    assert session(net.model(*net.ends), require_full="yes")
    real, result = net.real(net.ends[0]), net.name("soft")
    net.node("Softmax", [real], [result])
    model = net.model(net.whole(result, (1, 10), 0.3, low=0.0))
    with pytest.raises(Exception, match="require_full: 1 operators would stay on the CPU: ONNX:Softmax"):
        session(model, require_full="yes")


def test_open_batches_stay_with_the_host(capfd: pytest.CaptureFixture[str]) -> None:
    net = Net(31)
    model = net.model(net.conv(net.input((1, 3, 8, 8)), 16, (3, 3)))
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    found = session(model)
    assert not callbacks._kernels
    assert "everything stays on the CPU: network: the shape of input" in capfd.readouterr().err
    (result,) = found.run(None, {net.inputs[0].name: np.zeros((4, 3, 8, 8), np.float32)})
    assert result.shape[0] == 4


def test_networks_with_bodies_are_divided_around_them() -> None:
    net = Net(32)
    x = net.conv(net.input((1, 3, 6, 6)), 16, (3, 3))
    real, result = net.real(x), net.name("chosen")
    net.inputs.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, ()))
    branches = []
    for kind in ("Abs", "Neg"):
        output = helper.make_tensor_value_info(f"out{kind}", TensorProto.FLOAT, x.shape)
        branches.append(helper.make_graph([helper.make_node(kind, [real], [f"out{kind}"])], kind, [], [output]))
    net.node("If", ["flag"], [result], then_branch=branches[0], else_branch=branches[1])
    model = net.model(net.conv(net.whole(result, x.shape, x.spread), 8, (1, 1)))
    found = session(model)
    assert len(callbacks._kernels) == 2
    values = {net.inputs[0].name: net.feed(1)[0]}
    with OnnxInference(convert(model), SimulatorDevice(), cache="off") as inference:
        for flag in (True, False):
            (mine,) = found.run(None, {**values, "flag": np.array(flag)})
            (theirs,) = inference.run([values[net.inputs[0].name], np.array(flag)])
            np.testing.assert_array_equal(mine, theirs)


def test_real_numbers_read_twice_are_handed_over() -> None:
    """One DequantizeLinear for the NPU's convolution and for a Softmax of the host's."""
    net = Net(33)
    x = net.conv(net.input((1, 3, 6, 6)), 16, (3, 3))
    real, soft = net.real(x), net.name("soft")
    net.node("Softmax", [real], [soft], axis=1)
    real_before = net.real
    net.real = lambda value: real if value is x else real_before(value)  # type: ignore[method-assign]
    y = net.conv(x, 8, (1, 1))
    net.ends = [y, net.whole(soft, x.shape, 0.1, low=0.0)]
    found = session(net.model(*net.ends))
    for mine, theirs in zip(hosted(found, net, 5), direct(net, 5), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_failing_device_is_an_error_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    net = small()
    found = session(net.model(*net.ends))

    def broken(_: Kernel, __: Any) -> None:
        raise DeviceError("the device is on fire")

    monkeypatch.setattr(Kernel, "compute", broken)
    with pytest.raises(Exception, match="running a part: the device is on fire"):
        hosted(found, net, 0)
    monkeypatch.undo()
    assert hosted(found, net, 0)


def test_verbose_prints_tables(capfd: pytest.CaptureFixture[str]) -> None:
    net = small()
    hosted(session(net.model(*net.ends), verbose="yes"), net, 0)
    said = capfd.readouterr().err
    assert "rocketnpu: loaded simulator driver" in said
    assert "CONV_2D" in said
    assert "compiled graph, took" in said
    assert "invoked graph, took" in said


def test_three_lines_are_enough_in_a_process_of_their_own(library: Path, tmp_path: Path) -> None:
    net = small()
    onnx.save(net.model(*net.ends), tmp_path / "net.onnx")
    np.save(tmp_path / "given.npy", net.feed(7)[0])
    script = f"""
import numpy, onnxruntime
onnxruntime.register_execution_provider_library({NAME!r}, {str(library)!r})
options = onnxruntime.SessionOptions()
devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == {NAME!r}]
options.add_provider_for_devices(devices, {{"device": "simulator", "minimum_macs": "0", "cache": "off"}})
session = onnxruntime.InferenceSession({str(tmp_path / "net.onnx")!r}, options)
given = numpy.load({str(tmp_path / "given.npy")!r})
numpy.save({str(tmp_path / "found.npy")!r}, session.run(None, {{session.get_inputs()[0].name: given}})[0])
assert {NAME!r} in session.get_providers()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), direct(net, 7)[0])


def test_a_session_that_python_frees_last_ends_quietly(library: Path, tmp_path: Path) -> None:
    net = random_net(7)
    (tmp_path / "net.onnx").write_bytes(net.model(*net.ends).SerializeToString())
    script = f"""
import onnxruntime, sys
onnxruntime.register_execution_provider_library({NAME!r}, {str(library)!r})
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from provider_hosts import Path, session
sys.kept = session(Path({str(tmp_path / "net.onnx")!r}))
assert {NAME!r} in sys.kept.get_providers()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_device_is_listed_once() -> None:
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == NAME]
    assert len(devices) == 1
    assert devices[0].ep_vendor == "rocketnpu"


@pytest.mark.parametrize("error", [DeviceError("no room"), ZeroDivisionError("nobody foresaw this")])
def test_a_part_that_cannot_be_placed_stays_with_the_host(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The session could not be made, for the host had given its nodes up by then."""
    net = small()
    model = net.model(*net.ends)
    plain = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(SimulatorDevice, "allocate", fail)
    for mine, theirs in zip(hosted(session(model), net, 3), hosted(plain, net, 3), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert f"stays on the CPU: {'' if isinstance(error, DeviceError) else 'internal fault, '}" in capfd.readouterr().err
    with pytest.raises(Exception, match="require_full"):
        session(model, require_full="1")


def test_an_unforeseen_error_while_claiming_leaves_all_with_the_host(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("nobody foresaw this")

    monkeypatch.setattr(provider_session, "plan", fail)
    net = small()
    model = net.model(*net.ends)
    plain = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for mine, theirs in zip(hosted(session(model), net, 3), hosted(plain, net, 3), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert "everything stays on the CPU: internal fault, KeyError" in capfd.readouterr().err
