"""Several inferences in flight: equal to one at a time, all cores at work, bytes converted while a core computes."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.graphs import graph_case
from device_cases import CASES, program_for
from device_fixtures import Node, Watched
from rocketnpu.compiler import compile_graph
from rocketnpu.device.base import Device, DeviceJob
from rocketnpu.device.discover import open_device
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.failure import JobFailedError
from rocketnpu.device.group import DeviceGroup, cores_of, run_many
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import DeviceError, InputError, SomeFailedError
from rocketnpu.inference import Inference
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.program.program import Program
from square_models import SIZE, onnx_yolo
from strategies import case

Array = np.ndarray[Any, Any]
PROVEN = Policy("mainline", allow_unproven=False)
GOLDEN = Path(__file__).parents[1] / "data" / "golden"
MODEL = GOLDEN / "conv3x3_u8_same_16x16x16_32.tflite"


def batches_for(program: Program, count: int, seed: int = 3) -> list[list[Array]]:
    random = np.random.default_rng(seed)
    return [
        [random.integers(0, 256, one.shape, np.uint8).view(one.dtype.value) for one in program.inputs]
        for _ in range(count)
    ]


def one_by_one(program: Program, batches: Sequence[Sequence[Array]]) -> list[list[Array]]:
    with SimulatorDevice(chip=program.chip) as device, PlacedProgram(device, program) as placed:
        return [placed.run(inputs) for inputs in batches]


def assert_same(found: Sequence[Sequence[Array]], wanted: Sequence[Sequence[Array]]) -> None:
    for outputs, others in zip(found, wanted, strict=True):
        for one, other in zip(outputs, others, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_on_three_simulated_cores(seed: int) -> None:
    for part in plan(graph_case(seed).graph).parts:
        program = compile_graph(part)
        batches = batches_for(program, 13, seed)
        with DeviceGroup(lambda _: SimulatorDevice(), 3) as group:
            assert_same(run_many(group.members, program, iter(batches)), one_by_one(program, batches))


def test_an_emulated_kernel_has_all_cores_busy_at_once(node: Node) -> None:
    (part,) = plan(case("conv", 3).graph, PROVEN).parts
    program = compile_graph(part, PROVEN)
    batches = batches_for(program, 24)
    with open_device("rocket", cores=3, calls=node.calls) as group:
        found = run_many([Watched(core) for core in cores_of(group)], program, batches)
    assert_same(found, one_by_one(program, batches))
    assert Watched.most == 3
    assert node.lines == []


def test_any_device(open_one: Callable[[], Device]) -> None:
    with open_one() as device:
        program = program_for(CASES["depthwise"], device)
        batches = batches_for(program, 7)
        assert_same(run_many([device], program, batches, allow_unproven=True), one_by_one(program, batches))


class Patient(SimulatorDevice):
    """Waits before it computes until the next inference's input has been converted, and counts how often it was."""

    def __init__(self, last: int, seconds: float) -> None:
        super().__init__()
        self._last, self._seconds, self._submitted, self._converted = last, seconds, 0, 0
        self._changed = threading.Condition()
        self.overlapped = 0

    def convert(self) -> None:
        with self._changed:
            self._converted += 1
            self._changed.notify_all()

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        self._submitted += 1
        with self._changed:
            if self._submitted < self._last:
                self.overlapped += self._changed.wait_for(lambda: self._converted > self._submitted, self._seconds)
        super().submit(jobs)


@pytest.mark.parametrize(("in_flight", "seconds", "overlapped"), [(2, 10, 7), (1, 0, 0)])
def test_the_next_input_is_converted_while_the_core_computes(
    in_flight: int, seconds: float, overlapped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = plan(case("conv", 3).graph).parts
    program = compile_graph(part)
    batches = batches_for(program, 8)
    wanted = one_by_one(program, batches)
    layout = type(program.inputs[0].layout)
    pack = layout.pack
    with Patient(len(batches), seconds) as device:

        def counted(self: Any, tensor: Any, memory: Any) -> None:
            pack(self, tensor, memory)
            device.convert()

        monkeypatch.setattr(layout, "pack", counted)
        assert_same(run_many([device], program, batches, in_flight=in_flight), wanted)
    assert device.overlapped == overlapped


class Forgetful(SimulatorDevice):
    """Drops every fifth submission, as the mainline kernel does without a word."""

    def __init__(self) -> None:
        super().__init__()
        self._submitted = 0

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        self._submitted += 1
        if self._submitted % 5:
            super().submit(jobs)


def test_failed_inferences_are_reported_as_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (part,) = plan(case("conv", 3).graph).parts
    program = compile_graph(part)
    batches = batches_for(program, 12)
    batches[7] = [np.zeros((1, 2, 3, 4), np.uint8)]
    with Forgetful() as device, pytest.raises(SomeFailedError) as caught:
        run_many([device], program, batches)
    outcomes, failed = caught.value.outcomes, caught.value.failed
    assert len(failed) > 1
    assert all(isinstance(outcomes[number], JobFailedError if number != 7 else InputError) for number in failed)
    right = [number for number in range(12) if number not in failed]
    assert_same([outcomes[number] for number in right], one_by_one(program, [batches[number] for number in right]))


@pytest.fixture
def private_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROCKETNPU_CACHE", str(tmp_path / "cache"))


def model_batches(inference: Inference, count: int) -> list[list[Array]]:
    random = np.random.default_rng(1)
    shape = inference.graph.tensors[inference.graph.inputs[0]].shape
    return [[random.integers(0, 256, shape).astype(np.uint8)] for _ in range(count)]


@pytest.mark.usefixtures("private_cache")
@pytest.mark.parametrize("where", ["simulator", "rocket", "rknpu"])
@pytest.mark.parametrize("split", ["off", "auto"])
def test_a_model_on_three_cores(
    where: str, split: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = "vendor" if where == "rknpu" else "mainline"
    with Inference(MODEL, device="simulator", target=target) as inference:
        batches = model_batches(inference, 20)
        wanted = [inference.run(inputs) for inputs in batches]
    if where != "simulator":
        calls = request.getfixturevalue("node").calls if where == "rocket" else request.getfixturevalue("fake_rknpu")
        opened = functools.partial(open_device, calls=calls)
        monkeypatch.setattr("rocketnpu.delegate.delegate.open_device", opened)
    with Inference(MODEL, device=where, target=target, cores=3, split=split) as inference:
        assert inference.in_flight == 6
        assert_same(inference.run_many(batches), wanted)
        assert_same([one.result() for one in inference.outcomes(iter(batches))], wanted)
        batches[4] = [np.zeros((1, 2, 2, 2), np.uint8)]
        with pytest.raises(SomeFailedError) as caught:
            inference.run_many(batches)
        assert caught.value.failed == (4,)
        assert_same([one for number, one in enumerate(caught.value.outcomes) if number != 4], wanted[:4] + wanted[5:])
    with pytest.raises(DeviceError, match="closed"):
        inference.run(batches[0])


@pytest.mark.parametrize("wrong", [0, 65])
def test_a_wrong_number_in_flight(wrong: int) -> None:
    with pytest.raises(InputError, match="valid are 1 to 64"):
        Inference(MODEL, device="simulator", in_flight=wrong)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("where", ["simulator", "rocket"])
def test_an_onnx_model_on_three_cores(
    where: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (pip install rocketnpu[onnx])")
    path = tmp_path / "squares.onnx"
    onnx_yolo(8, path)
    random = np.random.default_rng(2)
    batches = [[random.random((1, 3, SIZE, SIZE), np.float32)] for _ in range(15)]
    with Inference(path, device="simulator", target="mainline", cache="off") as inference:
        wanted = [inference.run(inputs) for inputs in batches]
    if where == "rocket":
        node: Node = request.getfixturevalue("node")
        opened = functools.partial(open_device, calls=node.calls)
        monkeypatch.setattr("rocketnpu.onnx_host.inference.open_device", opened)
    with Inference(path, device=where, target="mainline", cores=3, cache="off") as inference:
        batches[9] = [batches[9][0][:, :2]]
        with pytest.raises(SomeFailedError) as caught:
            inference.run_many(batches)
        assert caught.value.failed == (9,)
        assert_same([one for number, one in enumerate(caught.value.outcomes) if number != 9], wanted[:9] + wanted[10:])
    with pytest.raises(DeviceError, match="closed"):
        inference.run(batches[0])
