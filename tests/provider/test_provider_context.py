"""Models with compiled parts: written by ONNX Runtime, read again, and damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import onnx
import onnxruntime
import pytest

from onnx_nets import Net, random_net
from provider_hosts import OPTIONS
from rocketnpu.errors import RocketError
from rocketnpu.provider import NAME, callbacks
from rocketnpu.provider.context import DATA, MAGIC, Context

pytestmark = pytest.mark.usefixtures("library")


def session(path: Path, written: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if written is not None:
        options.add_session_config_entry("ep.context_enable", "1")
        options.add_session_config_entry("ep.context_file_path", str(written))
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == NAME]
    options.add_provider_for_devices(devices[:1], OPTIONS)
    return onnxruntime.InferenceSession(str(path), options)


def compiled(net: Net, folder: Path) -> tuple[onnx.ModelProto, list[np.ndarray]]:
    """Return a model with compiled parts, which lies in the folder as ``compiled.onnx``, and what the network gives."""
    onnx.save(net.model(*net.ends), folder / "net.onnx")
    found = session(folder / "net.onnx", folder / "compiled.onnx")
    given = dict(zip([value.name for value in net.inputs], net.feed(1), strict=True))
    names = sorted(output.name for output in found.get_outputs())  # ONNX Runtime writes them in another order
    return onnx.load(folder / "compiled.onnx"), found.run(names, given)


@pytest.mark.parametrize("seed", [3, 8, 17, 21, 30])
def test_a_model_with_compiled_parts_gives_the_same(seed: int, tmp_path: Path) -> None:
    net = random_net(seed)
    model, wanted = compiled(net, tmp_path)
    nodes = [node for node in model.graph.node if node.op_type == "EPContext"]
    assert nodes
    before = len(callbacks._kernels)
    again = session(tmp_path / "compiled.onnx")
    assert len(callbacks._kernels) == before + len(nodes)
    given = dict(zip([value.name for value in net.inputs], net.feed(1), strict=True))
    names = sorted(output.name for output in again.get_outputs())
    for found, was in zip(again.run(names, given), wanted, strict=True):
        np.testing.assert_array_equal(found, was)


def small(folder: Path) -> bytes:
    net = Net(25)
    net.ends = [net.conv(net.input((1, 3, 8, 8)), 16, (3, 3), clamp="Relu")]
    model, _ = compiled(net, folder)
    (node,) = (node for node in model.graph.node if node.op_type == "EPContext")
    return next(attribute.s for attribute in node.attribute if attribute.name == DATA)


def reason_of(data: bytes) -> str:
    try:
        Context.of(data)
    except RocketError as error:
        return str(error)
    return ""


def test_damaged_contexts_are_refused_in_a_line(tmp_path: Path) -> None:
    data = small(tmp_path)
    assert Context.of(data).to_bytes() == data
    choose, refused = Random(0), 0
    for _ in range(300):
        made = bytearray(data)
        for _ in range(choose.randint(1, 4)):
            made[choose.randrange(len(MAGIC), 600)] = choose.randrange(256)
        refused += reason_of(bytes(made[: choose.choice([len(made), choose.randrange(len(made))])])).count("\n") == 0
    assert refused == 300
    assert reason_of(data) == ""
    assert "cut off" in reason_of(data[:100])


@pytest.mark.parametrize(
    "change",
    [
        {"order": [0, 1, 1, 3]},
        {"places": [0, 1, 2, 9]},
        {"split": [1, 3, 8, 9]},
        {"shape": [1, 8, 8, 4]},
        {"scale": -1.0},
        {"place": -1},
        {"zero": "x"},
        {"scale": 10**400},
    ],
)
def test_numbers_of_a_context_are_checked(change: dict[str, object], tmp_path: Path) -> None:
    context = Context.of(small(tmp_path))
    data = context.to_bytes()
    start = len(MAGIC) + 8
    length = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little")
    text = json.loads(data[start : start + length])
    text["inputs"][0] |= change
    changed = json.dumps(text).encode()
    sizes = len(changed).to_bytes(4, "little") + data[len(MAGIC) + 4 : start]
    with pytest.raises(RocketError, match="its compiled context"):
        Context.of(MAGIC + sizes + changed + data[start + length :])


def with_data(folder: Path, data: bytes) -> Path:
    """Write the compiled model of :func:`small` with other bytes in its part."""
    model = onnx.load(folder / "compiled.onnx")
    (node,) = (node for node in model.graph.node if node.op_type == "EPContext")
    (attribute,) = (attribute for attribute in node.attribute if attribute.name == DATA)
    attribute.s = data
    onnx.save(model, folder / "changed.onnx")
    return folder / "changed.onnx"


def test_a_damaged_context_ends_the_making_of_a_session(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = with_data(tmp_path, small(tmp_path)[:100])
    with pytest.raises(Exception, match="EPContext"):
        session(path)
    assert "its compiled context is cut off" in capfd.readouterr().err


def test_a_slot_beyond_its_node_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    context = Context.of(small(tmp_path))
    far = replace(context, inputs=tuple(replace(slot, place=7) for slot in context.inputs))
    path = with_data(tmp_path, far.to_bytes())
    with pytest.raises(Exception, match="more inputs or outputs than its node"):
        session(path)
    capfd.readouterr()


def test_a_context_that_lies_about_types_reads_no_memory_behind_the_hosts_tensor(tmp_path: Path) -> None:
    """It comes from a file: real numbers would be read where the host has a quarter as many bytes."""
    context = Context.of(small(tmp_path))
    lying = replace(context, inputs=(replace(context.inputs[0], is_real=True),))
    made = session(with_data(tmp_path, lying.to_bytes()))
    (given,) = made.get_inputs()
    with pytest.raises(Exception, match="has elements of type 2, the session was made for float32"):
        made.run(None, {given.name: np.zeros(given.shape, np.uint8 if "uint8" in given.type else np.float32)})
