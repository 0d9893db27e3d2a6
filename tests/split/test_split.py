"""One inference on several cores gives the bytes of one core, on the simulator and under an emulated kernel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from compiler.graphs import graph_case
from device_fixtures import Node, Watched
from rocketnpu.compiler import compile_graph
from rocketnpu.device.base import Device, DeviceJob
from rocketnpu.device.discover import open_device
from rocketnpu.device.executor import run
from rocketnpu.device.failure import JobFailedError
from rocketnpu.device.group import DeviceGroup
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.device.split import PlacedSplit
from rocketnpu.errors import DeviceError
from rocketnpu.graph import Graph
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.program.program import Role
from rocketnpu.program.split import SplitProgram
from rocketnpu.rockchip.assembly.split import assemble_split
from rocketnpu.rockchip.assembly.splitting import split_graph
from rocketnpu.rockchip.prepared import prepare
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.timing.setting import setting
from split.pictures import pictures

CASES = int(os.environ.get("ROCKETNPU_TEST_CASES", "18"))
POLICIES = (Policy(), Policy("mainline", allow_unproven=False))


def split(graph: Graph, policy: Policy, cores: int = 3, barrier_us: float = 0.0) -> SplitProgram:
    """Split as much as can be, or where the estimate says so if a barrier costs something."""
    given = setting("mainline", cores=cores)
    return assemble_split(
        split_graph(prepare(graph, RK3588, policy), RK3588, policy, given, barrier_us), "split", RK3588
    )


def litter(placed: PlacedSplit, seed: int) -> None:
    """Fill all memory that a program has not written with random bytes, other ones on each core."""
    random = np.random.default_rng(seed)
    for core in placed.cores:
        for spec, memory in zip(core.program.buffers, core.memories, strict=True):
            if spec.role in (Role.SCRATCH, Role.INPUT, Role.OUTPUT):
                memory[:] = random.bytes(len(memory))


def assert_equal_on_cores(graph: Graph, policy: Policy, devices: Sequence[Device], seed: int) -> SplitProgram:
    given = pictures(graph, seed)
    with SimulatorDevice() as device:
        wanted = run(device, compile_graph(graph, policy), given)
    found = split(graph, policy, len(devices))
    with PlacedSplit(devices, found, allow_unproven=True) as placed:
        litter(placed, seed)
        for _ in range(2):
            for one, other in zip(placed.run(given), wanted, strict=True):
                np.testing.assert_array_equal(one, other)
    return found


@pytest.mark.parametrize("policy", POLICIES, ids=["all", "proven"])
def test_random_networks_give_the_same_bytes(policy: Policy) -> None:
    shared, carried = 0, 0
    with DeviceGroup(lambda _: SimulatorDevice(), 3) as group:
        for seed in range(CASES):
            for part in plan(graph_case(seed).graph, policy).parts:
                found = assert_equal_on_cores(part, policy, group.members[: 2 + seed % 2], seed)
                shared += sum(sum(job is not None for job in step.jobs) > 1 for step in found.steps)
                carried += found.carried_bytes
    assert shared > CASES, "most networks have layers that cores share"
    assert carried > 0


def test_an_emulated_kernel_gives_the_same_bytes_with_all_cores_busy_at_once(node: Node) -> None:
    """Files of the same node run on different cores; a layer's jobs are in flight together."""
    with open_device("rocket", cores=3, calls=node.calls) as group:
        assert isinstance(group, DeviceGroup)
        watched = [Watched(device) for device in group.members]
        for seed in range(max(CASES // 6, 3)):
            for part in plan(graph_case(seed).graph, POLICIES[1]).parts:
                assert_equal_on_cores(part, POLICIES[1], watched, seed)
    assert Watched.most == 3
    assert node.lines == []


class Deaf(SimulatorDevice):
    """Drops every job, as the mainline kernel does without a word."""

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        pass


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_failing_core_is_reported_as_itself(bad: int, tmp_path: Any) -> None:
    (part,) = plan(big().graph, POLICIES[0]).parts
    found = split(part, POLICIES[0])
    assert all(job is not None for job in found.steps[0].jobs)
    devices = [Deaf() if core == bad else SimulatorDevice() for core in range(3)]
    with PlacedSplit(devices, found, bundle_folder=tmp_path) as placed, pytest.raises(JobFailedError) as caught:
        placed.run(pictures(part, 0))
    assert f"core {bad} of 3" in str(caught.value)
    assert caught.value.bundle is not None


def big() -> Any:
    from strategies import case

    return next(
        found
        for found in (case("conv", seed) for seed in range(100))
        if found.graph.tensors[found.graph.outputs[0]].shape[1] >= 9
    )


def test_too_few_devices_are_refused() -> None:
    (part,) = plan(big().graph, POLICIES[0]).parts
    with SimulatorDevice() as device, pytest.raises(DeviceError, match="3 cores, 1 are open"):
        PlacedSplit([device], split(part, POLICIES[0]))


def test_a_barrier_that_costs_more_than_the_layer_splits_nothing() -> None:
    (part,) = plan(big().graph, POLICIES[0]).parts
    found = split_graph(
        prepare(part, RK3588, POLICIES[0]), RK3588, POLICIES[0], setting("mainline", cores=3), barrier_us=1e6
    )
    assert [len(shares) for shares in found.stages] == [1] * len(found.stages)
    assert found.split_us == found.whole_us


def test_mobilenet_takes_half_the_time_on_three_slow_cores(mobilenet_v1: Any) -> None:
    from rocketnpu.model import tflite

    (part,) = plan(tflite.load(mobilenet_v1), POLICIES[0]).parts
    graph = prepare(part, RK3588, POLICIES[0])
    slow = split_graph(graph, RK3588, POLICIES[0], setting("mainline", cores=3))
    assert slow.split_us < 0.5 * slow.whole_us
    without = split_graph(graph, RK3588, POLICIES[0], setting("vendor", cores=3), barrier_us=0)
    assert without.split_us < 1000, "three cores at 1 GHz, synchronisation left out"
    assert without.split_us > 640, "what bytes and multiplications allow (timing 6.1)"
