"""Devices, placed programs and inferences from several threads at once: the same bytes as from one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_cases import CASES, program_for
from rocketnpu.compiler import compile_graph
from rocketnpu.device.base import METHODS, Device
from rocketnpu.device.executor import PlacedProgram, run
from rocketnpu.device.kernel import KernelDevice
from rocketnpu.device.one_at_a_time import OneAtATime
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import DeviceError
from rocketnpu.inference import Inference
from rocketnpu.partition.plan import plan
from rocketnpu.program.program import Program
from strategies import case

Array = np.ndarray[Any, Any]
THREADS = 4
GOLDEN = Path(__file__).parents[1] / "data" / "golden"


@pytest.fixture(scope="module")
def programs() -> list[Program]:
    return [compile_graph(plan(case(family, 3).graph).parts[0]) for family in ("conv", "depthwise")]


def pictures(program: Program, count: int) -> list[list[Array]]:
    random = np.random.default_rng(3)
    return [
        [random.integers(0, 200, binding.shape).astype(binding.dtype.value) for binding in program.inputs]
        for _ in range(count)
    ]


def same(found: list[Array], wanted: list[Array]) -> bool:
    return all(np.array_equal(one, two) for one, two in zip(found, wanted, strict=True))


def at_once(work: Callable[[int], Any], count: int) -> list[Any]:
    """Run work for each number, all threads starting together."""
    gate = threading.Barrier(THREADS)

    def started(thread: int) -> list[Any]:
        gate.wait(30)
        return [work(number) for number in range(thread, count, THREADS)]

    with ThreadPoolExecutor(THREADS) as threads:
        parts = list(threads.map(started, range(THREADS)))
    return [parts[number % THREADS][number // THREADS] for number in range(count)]


def test_one_device_with_a_program_in_each_thread(open_one: Callable[[], Device]) -> None:
    """Each thread places programs of its own on the device that all share, runs and frees them."""
    with open_one() as device:
        programs = [program_for(CASES[name], device) for name in ("odd", "depthwise")]
        inputs = [pictures(program, 3) for program in programs]
        with SimulatorDevice(chip=device.chip) as one:
            wanted = [
                [run(one, program, given) for given in some] for program, some in zip(programs, inputs, strict=True)
            ]

        def work(number: int) -> bool:
            which, place = number % 2, number % 3
            return same(run(device, programs[which], inputs[which][place], allow_unproven=True), wanted[which][place])

        assert all(at_once(work, 24))


def test_one_placed_program_in_all_threads(open_one: Callable[[], Device]) -> None:
    with open_one() as device:
        program = program_for(CASES["odd"], device)
        inputs = pictures(program, 12)
        with SimulatorDevice(chip=device.chip) as one:
            wanted = [run(one, program, given) for given in inputs]
        with PlacedProgram(device, program, allow_unproven=True) as placed:
            found = at_once(lambda number: placed.run(inputs[number]), len(inputs))
    assert all(same(one, two) for one, two in zip(found, wanted, strict=True))


def test_closing_waits_for_the_inference_that_runs(programs: list[Program]) -> None:
    given = pictures(programs[0], 1)[0]
    with SimulatorDevice() as device:
        wanted = run(device, programs[0], given)
        for _ in range(20):
            placed = PlacedProgram(device, programs[0])
            found: list[Any] = []

            def work(placed: PlacedProgram = placed, found: list[Any] = found) -> None:
                try:
                    found.append(placed.run(given))
                except DeviceError as error:
                    found.append(error)

            thread = threading.Thread(target=work)
            thread.start()
            placed.close()
            thread.join(30)
            assert isinstance(found[0], DeviceError) or same(found[0], wanted), found


def test_one_inference_in_all_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROCKETNPU_CACHE", str(tmp_path / "cache"))
    path = GOLDEN / "conv3x3_u8_same_16x16x16_32.tflite"
    random = np.random.default_rng(1)
    with Inference(path, device="simulator") as inference:
        shape = inference.graph.tensors[inference.graph.inputs[0]].shape
        inputs = [random.integers(0, 256, shape).astype(np.uint8) for _ in range(8)]
        wanted = [inference.run([given]) for given in inputs]
        found = at_once(lambda number: inference.run([inputs[number]]), len(inputs))
    assert all(same(one, two) for one, two in zip(found, wanted, strict=True))


@pytest.mark.parametrize("kind", [SimulatorDevice, KernelDevice, PlacedProgram])
def test_each_takes_turns(kind: type) -> None:
    assert issubclass(kind, OneAtATime)


@pytest.mark.parametrize("kind", [SimulatorDevice, KernelDevice, PlacedProgram, Inference])
def test_each_docstring_says_so(kind: type) -> None:
    assert "from any thread" in (kind.__doc__ or "").lower()


def test_every_method_of_a_device_takes_turns() -> None:
    assert set(METHODS) == {name for name in vars(Device) if not name.startswith("_")} - {"name", "chip"}
    assert set(METHODS) <= {name for name, found in vars(SimulatorDevice).items() if hasattr(found, "__wrapped__")}


def test_a_forked_child_does_not_wait_for_the_parents_threads() -> None:
    with SimulatorDevice() as device:
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with device._turn[1]:
                held.set()
                done.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(30)
        child = os.fork()
        if not child:
            device.allocate(16)
            os._exit(0)
        done.set()
        thread.join(30)
        assert os.waitpid(child, 0)[1] == 0
