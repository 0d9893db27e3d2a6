"""What this family brings for each of its chips. Rooms are imported when they are first entered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rocketnpu.errors import UnsupportedError
from rocketnpu.family import Family
from rocketnpu.rockchip.soc import RK3588, Soc

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rocketnpu.board.machine import Hardware, Verdict
    from rocketnpu.device.base import Device, DeviceJob, Driver
    from rocketnpu.device.calls import Calls
    from rocketnpu.device.machine import Fact, Machine
    from rocketnpu.estimate.estimate import Board, Conditions, Spread, TimedTask
    from rocketnpu.evidence import EvidenceTable, Risk
    from rocketnpu.family import Fetch
    from rocketnpu.graph import Graph, Operator
    from rocketnpu.inspect.bounds import Bound
    from rocketnpu.inspect.work import PartWork
    from rocketnpu.partition.price import Price
    from rocketnpu.partition.published import PublishedOperator
    from rocketnpu.policy import Policy
    from rocketnpu.program.program import Program
    from rocketnpu.program.split import SharedProgram, SplitProgram
    from rocketnpu.proofs.trial import Trial
    from rocketnpu.rockchip.rules.checker import RockchipChecker
    from rocketnpu.rockchip.simulator import Npu


@dataclass(frozen=True)
class RockchipFamily(Family):
    """A chip of Rockchip's NPU family."""

    soc: Soc
    """The chip's facts."""

    @property
    def evidence(self) -> EvidenceTable:
        """What speaks for each hardware rule of this chip."""
        from rocketnpu.rockchip.evidence import TABLE

        return TABLE

    @property
    def drivers(self) -> tuple[Driver, ...]:
        """The mainline kernel's driver and the vendor's; both know the RK3588 alone here."""
        from rocketnpu.device.base import Driver
        from rocketnpu.rockchip.drivers.rknpu import RknpuDevice
        from rocketnpu.rockchip.drivers.rocket import RocketDevice

        def open_rocket(_core: int, calls: Calls | None) -> Device:
            return RocketDevice(calls=calls)

        def open_rknpu(core: int, calls: Calls | None) -> Device:
            return RknpuDevice(core=core, calls=calls)

        return (
            Driver(RocketDevice.name, self.name, "mainline", RocketDevice.nodes, open_rocket),
            Driver(RknpuDevice.name, self.name, "vendor", RknpuDevice.nodes, open_rknpu),
        )

    def board_facts(self, machine: Machine) -> tuple[Fact, ...]:
        """Look at kernel, module, clock and IOMMU."""
        from rocketnpu.rockchip.drivers.board import board_facts

        return board_facts(machine)

    def clock_overlay(self, mhz: int | None) -> str:
        """Return an overlay for mainline's device tree."""
        from rocketnpu.rockchip.drivers.overlay import SAFE_MHZ, overlay

        try:
            return overlay(SAFE_MHZ if mhz is None else mhz)
        except ValueError as error:
            raise UnsupportedError(str(error)) from None

    @property
    def risks(self) -> tuple[Risk, ...]:
        """What programs do that no chip has been seen to do."""
        from rocketnpu.rockchip.risks import RISKS

        return RISKS

    def program_risks(self, program: Program) -> Sequence[tuple[str, int, str]]:
        """Look through a program's tasks."""
        from rocketnpu.rockchip.risks import program_risks

        return [(found.risk, found.operator, found.value) for found in program_risks(program)]

    def trials(self) -> tuple[Trial, ...]:
        """Return the programs that ask a board for rules."""
        from rocketnpu.rockchip.proofs.trials import trials

        return trials(self.soc)

    @property
    def not_asked(self) -> Mapping[str, str]:
        """Rules that no program asks."""
        from rocketnpu.rockchip.proofs.trials import NOT_ASKED

        return NOT_ASKED

    def checker(self, graph: Graph, policy: Policy) -> RockchipChecker:
        """Return what decides about a graph's operators."""
        from rocketnpu.rockchip.rules.checker import RockchipChecker

        return RockchipChecker(graph, self.soc, policy)

    def published(self) -> tuple[PublishedOperator, ...]:
        """Return the published rules of every kind of operator."""
        from rocketnpu.rockchip.rules.means import published

        return published()

    def prepare(self, graph: Graph, policy: Policy) -> Graph:
        """Run all graph passes whose results the NPU takes."""
        from rocketnpu.rockchip.prepared import prepare

        return prepare(graph, self.soc, policy)

    def compile(self, graph: Graph, policy: Policy) -> Program:
        """Compile a part; see :meth:`rocketnpu.family.Family.compile`."""
        from rocketnpu.rockchip.assembly.assemble import assemble
        from rocketnpu.rockchip.prepared import lower

        lowered = lower(graph, self.soc, policy)
        if not lowered.tasks:
            raise UnsupportedError(f"{graph.name} computes nothing: its outputs are its inputs, seen in another shape")
        return assemble(lowered, graph.name, self.soc)

    def split(
        self, graph: Graph, policy: Policy, cores: int, *, shares_memory: bool = False
    ) -> SplitProgram | SharedProgram | None:
        """Share layers out to cores; see :meth:`rocketnpu.family.Family.split`."""
        from rocketnpu.rockchip.assembly.split import assemble_shared, assemble_split
        from rocketnpu.rockchip.assembly.splitting import split_graph
        from rocketnpu.rockchip.prepared import prepare
        from rocketnpu.rockchip.timing.setting import setting

        given = setting("vendor" if policy.target == "vendor" else "mainline", cores=cores)
        stages = split_graph(prepare(graph, self.soc, policy), self.soc, policy, given)
        if stages.split_us >= stages.whole_us:
            return None
        if not shares_memory:
            return assemble_split(stages, graph.name, self.soc)
        try:
            return assemble_shared(stages, graph.name, self.soc)
        except UnsupportedError:  # cores would get in each other's way: one does it all
            return None

    def split_us(self, graph: Graph, policy: Policy, conditions: Conditions, cores: int) -> float | None:
        """Estimate layers shared out to cores, or one core where that is not slower."""
        from rocketnpu.rockchip.assembly.splitting import split_graph
        from rocketnpu.rockchip.prepared import prepare
        from rocketnpu.rockchip.timing.setting import setting

        given = setting(conditions.driver, conditions.clock_mhz, cores)
        if conditions.start_us is not None:
            given = replace(given, start_us=conditions.start_us)
        stages = split_graph(prepare(graph, self.soc, policy), self.soc, policy, given)
        return min(stages.split_us, stages.whole_us)

    def work(self, graph: Graph, policy: Policy) -> PartWork:
        """Count tasks, banks and bytes of weights of each operator."""
        from rocketnpu.rockchip.lowering.work import part_work
        from rocketnpu.rockchip.prepared import lower

        return part_work(lower(graph, self.soc, policy), self.soc, policy)

    def explain(self, graph: Graph, number: int, policy: Policy) -> list[str]:
        """Say how an operator was cut, and what else was considered."""
        from rocketnpu.rockchip.lowering.work import explain
        from rocketnpu.rockchip.prepared import prepare

        return explain(prepare(graph, self.soc, policy), number, self.soc, policy)

    def model(
        self, graph: Graph, inputs: Mapping[int, npt.NDArray[Any]], policy: Policy
    ) -> dict[int, npt.NDArray[Any]]:
        """Compute a part by the integer model; see :meth:`rocketnpu.family.Family.model`."""
        from rocketnpu.rockchip.models.operator_model import graph_model

        return graph_model(graph, inputs, policy, self.soc)

    def bound(self, graph: Graph, operators: Sequence[Operator]) -> Bound:
        """Return the stated bound of operators that run as one."""
        from rocketnpu.rockchip.models.bounds import bound_of

        return bound_of(graph, operators)

    def bound_of_kind(self, kind: str) -> Bound:
        """Return the stated bound of a kind of operator."""
        from rocketnpu.rockchip.models.bounds import bound_of_kind

        return bound_of_kind(kind)

    def board(self, conditions: Conditions) -> tuple[Board, Spread]:
        """Describe a board under some conditions."""
        from rocketnpu.rockchip.timing.estimate import NETWORK_SPREAD, board

        return board(conditions), NETWORK_SPREAD

    def price(self, graph: Graph, part: Graph, policy: Policy) -> Price | None:
        """Estimate a part on either side; None on the simulator."""
        from rocketnpu.estimate.price import price

        return price(self, graph, part, policy)

    def timed(self, program: Program, conditions: Conditions) -> tuple[TimedTask, ...]:
        """Judge a program's registers."""
        from rocketnpu.rockchip.timing.estimate import program_tasks

        return program_tasks(program, conditions, self.soc)

    def virtual_npu(self, observe: Callable[[Verdict], None]) -> Hardware:
        """Return registers, interrupts and IOMMUs over the simulator."""
        from rocketnpu.rockchip.board.hardware import Rk3588Hardware

        return Rk3588Hardware(observe)

    def command_text(self, words: npt.NDArray[np.uint64], fetch: Fetch | None = None) -> str:
        """Return register writes by name, a word a line; they lead to no further commands."""
        del fetch
        from rocketnpu.rockchip.registers.command import format_words

        return format_words(words.tolist())

    def output_addresses(self, words: npt.NDArray[np.uint64], kind: int, fetch: Fetch) -> list[int]:
        """Return the addresses of the writers that a list starts; ``kind`` is its enable mask."""
        del fetch
        from rocketnpu.rockchip.drivers.check import output_addresses

        return output_addresses(words, kind)

    def recording(
        self, jobs: Sequence[DeviceJob], buffers: Sequence[Mapping[str, Any]], fetch: Fetch
    ) -> dict[str, Any]:
        """Describe a submission as recordings of the rocket driver do."""
        from rocketnpu.rockchip.streams.recording import describe

        del fetch
        return describe(jobs, buffers)

    def simulator(self, *, strict: bool, compiled: bool = True, threads: int = 1) -> Npu:
        """Return a simulated core."""
        from rocketnpu.memory import Memory
        from rocketnpu.rockchip.simulator import Npu

        return Npu(Memory(), soc=self.soc, strict=strict, compiled=compiled, threads=threads)


RK3588_FAMILY = RockchipFamily(
    name="rk3588",
    family="rockchip",
    title="Rockchip RK3588",
    cores=RK3588.cores,
    compatibles=("rockchip,rk3588", "rockchip,rk3588s", "rockchip,rk3583", "rockchip,rk3582"),
    node_advice='load the module; in the device tree the nodes rknn_core_0..2 need status = "okay"',
    smallest_write=RK3588.slot,
    soc=RK3588,
)
