"""One inference on the vendor's driver: all cores work in one memory, and give the bytes of one core."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from compiler.graphs import graph_case
from fake_rknpu import FakeRknpu
from rocketnpu.compiler import compile_graph
from rocketnpu.delegate.options import Options
from rocketnpu.delegate.session import Session
from rocketnpu.device.executor import PlacedProgram, run
from rocketnpu.device.failure import JobFailedError
from rocketnpu.device.group import DeviceGroup
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.device.split import PlacedShared
from rocketnpu.errors import DeviceError
from rocketnpu.graph import Graph
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.program.constants import Location
from rocketnpu.program.program import Role
from rocketnpu.program.split import SharedProgram
from rocketnpu.rockchip.assembly.assemble import planned, spans
from rocketnpu.rockchip.assembly.split import assemble_shared, assemble_split
from rocketnpu.rockchip.assembly.splitting import Stages, split_graph
from rocketnpu.rockchip.drivers import rknpu_uapi as kernel
from rocketnpu.rockchip.drivers.rknpu import RknpuDevice
from rocketnpu.rockchip.prepared import prepare
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.task import PoolingTask
from rocketnpu.rockchip.timing.setting import setting
from split.pictures import pictures

CASES = int(os.environ.get("ROCKETNPU_TEST_CASES", "18"))
POLICIES = (Policy(), Policy("vendor", allow_unproven=False))


class Crowded(FakeRknpu):
    """Keeps a submission waiting until all cores have one in flight, once; notes what is asked while jobs run."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: set[int] = set()
        self.most = 0
        self.synchronised: list[int] = []
        """How many submissions had been made at each synchronisation."""
        self.failing: int | None = None
        """Core whose jobs time out."""
        self._changed = threading.Condition()

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        if request == kernel.MEMORY_SYNC:
            self.synchronised.append(len(self.submits))
        if not isinstance(argument, kernel.Submit):
            assert not self.inside or request != kernel.ACTION, "a reset must not meet running jobs"
            super().ioctl(fd, request, argument)
            return
        core = argument.core_mask.bit_length() - 1
        with self._changed:
            assert core not in self.inside
            self.inside.add(core)
            self.most = max(self.most, len(self.inside))
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most == 3, timeout=10)
        try:
            if core == self.failing:
                raise TimeoutError(110, "timed out")
            super().ioctl(fd, request, argument)
        finally:
            with self._changed:
                self.inside.remove(core)


@pytest.fixture
def crowded() -> Any:
    fake = Crowded()
    yield fake
    fake.end()


def stages_of(graph: Graph, policy: Policy, cores: int = 3) -> Stages:
    """Split as much as can be."""
    return split_graph(prepare(graph, RK3588, policy), RK3588, policy, setting("vendor", cores=cores), barrier_us=0)


def shared(graph: Graph, policy: Policy, cores: int = 3) -> SharedProgram:
    return assemble_shared(stages_of(graph, policy, cores), "shared", RK3588)


def litter(placed: PlacedProgram, seed: int) -> None:
    """Fill all memory that a program has not written with random bytes."""
    random = np.random.default_rng(seed)
    for spec, memory, buffer in zip(placed.program.buffers, placed.memories, placed.buffers, strict=True):
        if spec.role in (Role.SCRATCH, Role.INPUT, Role.OUTPUT):
            memory[:] = random.bytes(len(memory))
            placed.device.sync_for_device(buffer)


def big() -> Graph:
    """A network whose first step is split over three cores."""
    for seed in range(100):
        for part in plan(graph_case(seed).graph, POLICIES[0]).parts:
            found = shared(part, POLICIES[0])
            if all(job is not None for job in found.steps[0]):
                return part
    raise AssertionError("no network begins with a layer that three cores share")


def wanted_of(graph: Graph, policy: Policy, given: list[Any]) -> list[Any]:
    with SimulatorDevice() as device:
        return run(device, compile_graph(graph, policy), given)


@pytest.mark.parametrize("policy", POLICIES, ids=["all", "proven"])
def test_random_networks_give_the_same_bytes(policy: Policy, fake_rknpu: FakeRknpu) -> None:
    together = 0
    with RknpuDevice(calls=fake_rknpu) as device:
        for seed in range(CASES):
            for part in plan(graph_case(seed).graph, policy).parts:
                given, found = pictures(part, seed), shared(part, policy, 2 + seed % 2)
                with PlacedShared(device, found, allow_unproven=True) as placed:
                    litter(placed, seed)
                    for _ in range(2):
                        for one, other in zip(placed.run(given), wanted_of(part, policy, given), strict=True):
                            np.testing.assert_array_equal(one, other)
                together += sum(sum(job is not None for job in step) > 1 for step in found.steps)
    assert together > CASES, "most networks have layers that cores share"


def test_jobs_of_a_step_may_run_in_any_order() -> None:
    """What runs at once gives the same bytes backwards: nobody needs what another writes."""
    for seed in range(CASES):
        for part in plan(graph_case(seed).graph, POLICIES[0]).parts:
            given, found = pictures(part, seed), shared(part, POLICIES[0])
            with SimulatorDevice() as device, PlacedProgram(device, found.program) as placed:
                litter(placed, seed)
                jobs = list(placed.jobs)
                placed.jobs[:] = [jobs[job] for step in found.steps for job in reversed(step) if job is not None]
                for one, other in zip(placed.run(given), wanted_of(part, POLICIES[0], given), strict=True):
                    np.testing.assert_array_equal(one, other)


def test_what_cores_touch_at_once_has_places_of_its_own() -> None:
    """Regions that one core needs in a step are not given away before the step has ended for all."""
    checked = 0
    for seed in range(CASES):
        for part in plan(graph_case(seed).graph, POLICIES[0]).parts:
            stages = stages_of(part, POLICIES[0])
            groups = [share for shares in stages.stages for share in shares]
            together = spans(groups, [len(shares) for shares in stages.stages])
            slots = planned(stages.lowered, RK3588, together).slots
            for span in together:
                features = [
                    feature
                    for task in stages.lowered.tasks[span.start : span.stop]
                    for feature in (task.source.feature, task.target.feature)
                    if feature.at.region in slots
                ]
                ends = {feature.at.region: 0 for feature in features}
                for feature in features:
                    ends[feature.at.region] = max(ends[feature.at.region], feature.end())
                places = sorted((slots[name].buffer, slots[name].offset, end) for name, end in ends.items())
                for (buffer, offset, size), (other, following, _) in pairwise(places):
                    assert buffer != other or offset + size <= following
                checked += len(places) > 1
    assert checked > CASES


def test_spans_are_those_of_steps_with_several_jobs() -> None:
    (task, *_) = stages_of(big(), POLICIES[0]).lowered.tasks
    groups = [(task,) * count for count in (2, 1, 3, 1, 1)]
    assert spans(groups, [1, 2, 1, 1]) == [range(2, 6)]
    assert spans(groups, [3, 2]) == [range(6), range(6, 8)]
    assert spans(groups, []) == []


def test_a_region_lives_as_long_as_what_runs_at_once_with_it() -> None:
    """A map that only one core touches shares memory with none of another core's in the same step."""
    stages = stages_of(big(), POLICIES[0])
    task = next(task for task in stages.lowered.tasks if not isinstance(task, PoolingTask))
    tasks = [
        replace(task, target=replace(task.target, feature=replace(task.target.feature, at=Location(f"own {core}", 0))))
        for core in range(9)
    ]
    lowered = replace(stages.lowered, tasks=tuple(tasks))
    places = [planned(lowered, RK3588, spans).slots[f"own {core}"] for spans in ((), (range(9),)) for core in range(9)]
    assert len(set(places[:9])) < 9, "one after another they take the same memory"
    assert len(set(places[9:])) == 9


def test_all_cores_are_busy_at_once_and_the_cpu_only_waits_between_steps(crowded: Crowded) -> None:
    graph = big()
    given, found = pictures(graph, 0), shared(graph, POLICIES[0])
    with RknpuDevice(calls=crowded) as device, PlacedShared(device, found, allow_unproven=True) as placed:
        crowded.synchronised.clear()
        for one, other in zip(placed.run(given), wanted_of(graph, POLICIES[0], given), strict=True):
            np.testing.assert_array_equal(one, other)
    assert crowded.most == 3
    jobs = len(found.program.jobs)
    assert len(crowded.submits) == jobs
    assert set(crowded.synchronised) == {0, jobs}, "before the first step and behind the last"
    for submit in crowded.submits:
        core = submit.core_mask.bit_length() - 1
        assert [part.number for part in submit.subcore_task] == [
            submit.task_number if number == core else 0 for number in range(5)
        ]


def test_there_is_one_copy_of_everything(fake_rknpu: FakeRknpu) -> None:
    """The memory taken from the driver is that of one core's maps and constants, and of all command lists."""
    graph = big()
    stages = stages_of(graph, POLICIES[0])
    found, apart = assemble_shared(stages, "shared", RK3588), assemble_split(stages, "split", RK3588)
    before = fake_rknpu.left
    with RknpuDevice(calls=fake_rknpu) as device, PlacedShared(device, found, allow_unproven=True):
        taken = before - fake_rknpu.left
        kept = sum(buffer.size for buffer in found.program.buffers)
        assert kept <= taken < kept + 4096 * len(found.program.buffers), "whole pages"
    sizes = [{buffer.name: buffer.size for buffer in program.buffers} for program in apart.programs]
    mine = {buffer.name: buffer.size for buffer in found.program.buffers}
    assert mine.keys() == sizes[0].keys()
    assert mine["constants"] == sizes[0]["constants"]
    assert mine["commands"] <= sum(size["commands"] for size in sizes)
    maps = mine.keys() - {"constants", "commands", "scratch"}
    assert all(mine[name] == sizes[0][name] for name in maps)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_failing_core_is_reported_as_itself(bad: int, crowded: Crowded, tmp_path: Any) -> None:
    graph = big()
    given, found = pictures(graph, 0), shared(graph, POLICIES[0])
    with (
        RknpuDevice(calls=crowded) as device,
        PlacedShared(device, found, allow_unproven=True, bundle_folder=tmp_path) as placed,
    ):
        crowded.failing = bad
        with pytest.raises(JobFailedError, match=f"did not finish on core {bad}") as caught:
            placed.run(given)
        assert caught.value.bundle is not None
        assert crowded.resets >= 1
        crowded.failing = None
        for one, other in zip(placed.run(given), wanted_of(graph, POLICIES[0], given), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_delegate_shares_a_part_out_on_the_vendors_driver(mobilenet_v1: Any, fake_rknpu: FakeRknpu) -> None:
    policy = Policy("vendor", allow_unproven=False)
    group = DeviceGroup(lambda core: RknpuDevice(core=core, calls=fake_rknpu), 3)
    with closing(Session(Options(split=True), group, None)) as session:
        (workshop,) = session._workshops
        (part,) = plan(tflite.load(mobilenet_v1), policy).parts
        given = pictures(part, 0)
        with workshop.place(part, compile_graph(part, policy)) as placed:
            assert isinstance(placed, PlacedShared)
            for one, other in zip(placed.run(given), wanted_of(part, policy, given), strict=True):
                np.testing.assert_array_equal(one, other)
    assert {submit.core_mask for submit in fake_rknpu.submits} == {1, 2, 4}


def test_cores_with_memory_of_their_own_are_refused() -> None:
    with SimulatorDevice() as device, pytest.raises(DeviceError, match="3 cores that share memory"):
        PlacedShared(device, shared(big(), POLICIES[0]))
