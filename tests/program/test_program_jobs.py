"""Jobs stand for themselves: their sentinels, their weights, their length, their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from bench import Case
from compiler.graphs import graph_case
from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import PlacedProgram, run
from rocketnpu.device.failure import JobFailedError
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import DType, Graph, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.program.program import Program, Role
from rocketnpu.rockchip.assembly.assemble import assemble
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.soc import RK3588, Soc
from rocketnpu.rockchip.tasks.cycles import task_cycles
from rocketnpu.rockchip.tasks.jobs import job_groups
from rocketnpu.rockchip.tasks.task import ConvolutionTask

ONE_TASK, FEW_TASKS = replace(RK3588, job_cycles=1), replace(RK3588, job_cycles=30_000)
SOCS = (RK3588, FEW_TASKS, ONE_TASK)


def programs(case: Case, soc: Soc) -> Iterator[Program]:
    for policy in (Policy(), Policy(target="mainline")):
        for part in plan(case.graph, policy).parts:
            yield assemble(lower(part, RK3588, policy), case.name, soc)


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_only_the_last_task_of_a_job_writes_its_sentinel(first: int) -> None:
    for seed in range(first, first + 20):
        case = graph_case(seed)
        for soc in SOCS:
            for program in programs(case, soc):
                assert wrong_writers(program) == [], f"{case.name}, {soc.job_cycles} cycles"


def wrong_writers(program: Program) -> list[str]:
    """Run task by task, every sentinel filled anew before each, and name those that do not write what they must."""
    found = []
    random = np.random.default_rng(0)
    with SimulatorDevice() as device, PlacedProgram(device, program) as placed:
        for binding in program.inputs:
            tensor = random.integers(0, 256, binding.shape, np.uint8)
            binding.layout.pack(tensor, placed.memories[binding.buffer])
        before = [bytes(place(placed, job)) for job in range(len(program.jobs))]
        for binding in program.inputs:
            tensor = random.integers(0, 256, binding.shape, np.uint8)
            binding.layout.pack(tensor, placed.memories[binding.buffer])
        found += [f"packing reaches job {job}" for job, old in enumerate(before) if bytes(place(placed, job)) != old]
        for number, job in enumerate(program.jobs):
            device._npu.begin_job()
            for index, task in enumerate(placed.jobs[number].tasks):
                patterns = placed.mark()
                device._npu.run_task(task.address, task.words)
                written = [other for other, old in enumerate(patterns) if bytes(place(placed, other)) != old]
                if written != ([number] if index == len(job.tasks) - 1 else []):
                    found.append(f"task {index} of job {number} ({job.tasks[index].label}) writes {written}")
    return found


def place(placed: PlacedProgram, job: int) -> memoryview:
    buffer, offset, size = placed.program.jobs[job].sentinel
    assert size >= 8
    return placed.memories[buffer][offset : offset + size]


def test_an_output_of_few_bytes_gets_a_status_task() -> None:
    model, x = dense(1, 1, 16, 4)
    (part,) = plan(tflite.parse(model, "few")).parts
    program = compile_graph(part)
    assert [task.label.split(":")[0] for task in program.jobs[0].tasks][1:] == ["status of job 0"]
    assert program.buffers[program.jobs[0].sentinel[0]].role is Role.SCRATCH
    with SimulatorDevice() as device, PlacedProgram(device, program) as placed:
        placed.run([x])
        first = bytes(placed.memories[program.jobs[0].sentinel[0]])
        device.submit = lambda jobs: None  # type: ignore[method-assign]
        with pytest.raises(JobFailedError):
            placed.run([x])
        assert bytes(placed.memories[program.jobs[0].sentinel[0]]) != first, "marked anew for each run"


def dense(height: int, width: int, channels: int, kernels: int) -> tuple[bytes, np.ndarray]:
    random = np.random.default_rng(1)
    builder = ModelBuilder()
    x = builder.tensor((1, height, width, channels), DType.INT8, scale=0.05, zero_point=3)
    data = random.integers(-127, 128, (kernels, 1, 1, channels))
    weights = builder.tensor(data.shape, DType.INT8, scale=0.01, zero_point=0, data=data)
    bias = builder.tensor((kernels,), DType.INT32, data=np.zeros(kernels, int))
    y = builder.tensor((1, height, width, kernels), DType.INT8, scale=0.5, zero_point=0)
    builder.operator("CONV_2D", [x, weights, bias], [y], ops.Conv2D((1, 1), Padding.SAME))
    model = builder.build([x], [y])
    return model, random.integers(-128, 128, (1, height, width, channels)).astype(np.int8)


@pytest.mark.litert
def test_the_first_task_of_a_job_fetches_its_weights() -> None:
    model, x = dense(64, 64, 256, 256)
    (part,) = plan(tflite.parse(model, "reuse")).parts
    lowered = lower(part, RK3588, Policy())
    whole, cut = job_groups(lowered.tasks, RK3588), job_groups(lowered.tasks, ONE_TASK)
    reused = [[isinstance(t, ConvolutionTask) and t.weights.reuse for t in group] for group in whole]
    assert reused == [[False] + [True] * (len(lowered.tasks) - 1)]
    assert len(cut) == len(lowered.tasks) > 1
    assert not any(isinstance(group[0], ConvolutionTask) and group[0].weights.reuse for group in cut)
    program = assemble(lowered, "reuse", ONE_TASK)
    with SimulatorDevice() as device:
        (found,) = run(device, program, [x])
    expected = reference(model, [x])[part.outputs[0]]
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_task_between_makes_weights_be_fetched_again() -> None:
    model, _ = dense(64, 64, 256, 256)
    (part,) = plan(tflite.parse(model, "between")).parts
    tasks = lower(part, RK3588, Policy()).tasks
    first, second = tasks[:2]
    assert isinstance(first, ConvolutionTask)
    assert isinstance(second, ConvolutionTask)
    assert second.weights.reuse
    other = replace(first, weights=replace(first.weights, at=first.weights.at + 64))
    resplit = replace(first, banks=replace(first.banks, data=first.banks.data - 1, weights=first.banks.weights + 1))
    for between in (other, resplit):
        ((*_, last),) = job_groups((first, between, second), RK3588)
        assert isinstance(last, ConvolutionTask)
        assert not last.weights.reuse


def depthwise_chain(layers: int, size: int, channels: int, window: int = 5) -> Graph:
    random = np.random.default_rng(0)
    builder = ModelBuilder()
    x = first = builder.tensor((1, size, size, channels), DType.INT8, scale=0.1, zero_point=0)
    for _ in range(layers):
        data = random.integers(-9, 9, (1, window, window, channels))
        weights = builder.tensor(data.shape, DType.INT8, scale=0.01, zero_point=0, data=data)
        bias = builder.tensor((channels,), DType.INT32, data=np.zeros(channels, int))
        y = builder.tensor((1, size, size, channels), DType.INT8, scale=0.1, zero_point=0)
        builder.operator("DEPTHWISE_CONV_2D", [x, weights, bias], [y], ops.DepthwiseConv2D((1, 1), Padding.SAME))
        x = y
    (part,) = plan(tflite.parse(builder.build([first], [x]), "depthwise")).parts
    return part


def test_no_job_of_slow_layers_comes_near_the_limit() -> None:
    lowered = lower(depthwise_chain(10, 320, 128), RK3588, Policy())
    groups = job_groups(lowered.tasks, RK3588)
    length = [sum(task_cycles(task, RK3588) for task in group) / RK3588.clock_hz for group in groups]
    # The vendor's formula alone, 25 taps of 64 channels a cycle: 26 ms a layer (timing 4.1).
    assert sum(length) > 10 * 320 * 320 * 25 * 2 / 200e6
    assert max(length) <= 0.1
    assert len(groups) <= 1.3 * sum(length) / 0.1 + 1


def test_a_task_that_is_too_long_is_reported() -> None:
    lowered = lower(depthwise_chain(1, 8, 16), RK3588, Policy())
    program = assemble(lowered, "long", ONE_TASK)
    assert len(program.notes) == len(lowered.notes) + len(lowered.tasks)
    assert "at 200 MHz by estimate" in program.notes[-1]
    assert not any("by estimate" in note for note in assemble(lowered, "short", RK3588).notes)


@pytest.mark.parametrize("seed", range(8))
def test_jobs_wait_for_each_other_and_outputs_for_all(seed: int) -> None:
    """Write fences alone order jobs on the mainline kernel, so all jobs write all that is no pure input."""
    for program in programs(graph_case(seed), ONE_TASK):
        writable = {n for n, b in enumerate(program.buffers) if b.role in (Role.SCRATCH, Role.OUTPUT)}
        inputs = {n for n, b in enumerate(program.buffers) if b.role is Role.INPUT}
        assert writable
        for job in program.jobs:
            assert set(job.writes) == writable
            assert set(job.reads) == inputs
            assert job.sentinel[0] in writable
