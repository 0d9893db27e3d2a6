"""Every chip of the registry keeps the contract; a relative by number is a value and a line (docs/add-a-chip.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from bench import Case
from rocketnpu import family as registry
from rocketnpu.compiler import compile_graph
from rocketnpu.device.discover import drivers, open_device
from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import DeviceError, InputError, ProgramError
from rocketnpu.family import chips, family_of
from rocketnpu.graph import Graph
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.program import store
from rocketnpu.rockchip import family as rockchip
from rocketnpu.rockchip.soc import RK3588
from strategies import case

RELATIVE = replace(
    rockchip.RK3588_FAMILY,
    name="relative",
    title="a relative with two cores",
    cores=2,
    compatibles=("nobody,relative",),
    soc=replace(RK3588, name="relative", cores=2),
)


@pytest.fixture
def relative(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(rockchip, "RELATIVE", RELATIVE, raising=False)
    monkeypatch.setitem(registry._CHIPS, "relative", "rocketnpu.rockchip.family:RELATIVE")
    drivers.cache_clear()
    yield "relative"
    family_of.cache_clear()
    drivers.cache_clear()


def small() -> Case:
    return case("conv", 3)


def part_of(graph: Graph, chip: str) -> Graph:
    return plan(graph, Policy(chip=chip)).parts[0]


@pytest.mark.parametrize("chip", chips())
def test_a_chip_compiles_runs_and_equals_its_model(chip: str) -> None:
    family, policy = family_of(chip), Policy(chip=chip)
    assert (family.name, bool(family.title), family.cores >= 1) == (chip, True, True)
    assert family.evidence.rules
    if not family.published():
        pytest.skip(f"nothing is compiled for the {family.title} yet")
    part = part_of(small().graph, chip)
    program = compile_graph(part, policy)
    assert program.chip == chip
    inputs = small().inputs("random")
    with SimulatorDevice(chip=chip) as device:
        (output,) = run(device, program, inputs)
    (wanted,) = (family.model(part, dict(zip(part.inputs, inputs, strict=True)), policy)[n] for n in part.outputs)
    np.testing.assert_array_equal(output, wanted)


def test_a_relative_by_number(relative: str) -> None:
    test_a_chip_compiles_runs_and_equals_its_model(relative)
    with pytest.raises(DeviceError, match=r"has 1\.\.2"):
        open_device("simulator", cores=3, chip=relative)


def test_a_program_is_refused_on_another_chip(relative: str) -> None:
    program = compile_graph(part_of(small().graph, relative), Policy(chip=relative))
    with (
        SimulatorDevice() as device,
        pytest.raises(DeviceError, match="is for the chip relative, this device is a rk3588"),
    ):
        run(device, program, small().inputs("random"))


def test_a_program_of_a_chip_that_is_not_known_is_refused(relative: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = store.to_bytes(compile_graph(part_of(small().graph, relative), Policy(chip=relative)))
    assert store.from_bytes(data).chip == relative
    monkeypatch.delitem(registry._CHIPS, relative)
    family_of.cache_clear()
    with pytest.raises(ProgramError, match=r"for the chip .relative. of the family .rockchip.; this release knows"):
        store.from_bytes(data)


def test_an_unknown_chip_names_those_that_are_known() -> None:
    with pytest.raises(InputError, match="there is no chip 'nonsense'; the chips are rk3588"):
        family_of("nonsense")
