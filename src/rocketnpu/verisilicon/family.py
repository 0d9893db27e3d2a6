"""What this family brings for each of its chips. Rooms are imported when they are first entered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rocketnpu.family import Family
from rocketnpu.verisilicon.soc import A311D, IMX8MP, Soc

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rocketnpu.device.base import Device, DeviceJob, Driver
    from rocketnpu.device.calls import Calls
    from rocketnpu.device.machine import Fact, Machine
    from rocketnpu.evidence import EvidenceTable
    from rocketnpu.family import Fetch, SimulatedChip
    from rocketnpu.graph import Graph, Operator
    from rocketnpu.inspect.bounds import Bound
    from rocketnpu.inspect.work import PartWork
    from rocketnpu.partition.published import PublishedOperator
    from rocketnpu.policy import Policy
    from rocketnpu.program.program import Program
    from rocketnpu.verisilicon.rules.checker import VerisiliconChecker


@dataclass(frozen=True)
class VerisiliconFamily(Family):
    """A chip with an NPU by VeriSilicon."""

    soc: Soc
    """The chip's facts."""

    @property
    def evidence(self) -> EvidenceTable:
        """What speaks for each hardware rule of these chips."""
        from rocketnpu.verisilicon.evidence import TABLE

        return TABLE

    @property
    def drivers(self) -> tuple[Driver, ...]:
        """The kernel's etnaviv driver; the vendor's own has no part in the kernel that is public here."""
        from rocketnpu.device.base import Driver
        from rocketnpu.verisilicon.drivers.etnaviv import EtnavivDevice
        from rocketnpu.verisilicon.drivers.etnaviv_chip import refusal_of

        def open_etnaviv(_core: int, calls: Calls | None) -> Device:
            return EtnavivDevice(self.soc, calls=calls)

        return (
            Driver(EtnavivDevice.name, self.name, "mainline", EtnavivDevice.nodes, open_etnaviv, refusal_of(self.soc)),
        )

    def board_facts(self, machine: Machine) -> tuple[Fact, ...]:
        """Look at kernel and module."""
        from rocketnpu.verisilicon.drivers.board import board_facts

        return board_facts(machine)

    def checker(self, graph: Graph, policy: Policy) -> VerisiliconChecker:
        """Return what decides about a graph's operators."""
        from rocketnpu.verisilicon.rules.checker import VerisiliconChecker

        return VerisiliconChecker(graph, self.soc, policy)

    def published(self) -> tuple[PublishedOperator, ...]:
        """Return the published rules of every kind of operator."""
        from rocketnpu.verisilicon.rules.table import published

        return published()

    def prepare(self, graph: Graph, policy: Policy) -> Graph:
        """Run all graph passes whose results the NPU takes."""
        from rocketnpu.verisilicon.prepared import prepare

        return prepare(graph, self.soc, policy)

    def compile(self, graph: Graph, policy: Policy) -> Program:
        """Compile a part; see :meth:`rocketnpu.family.Family.compile`."""
        from rocketnpu.verisilicon.assembly.assemble import assemble
        from rocketnpu.verisilicon.prepared import lower

        return assemble(lower(graph, self.soc, policy), graph.name, self.soc)

    def work(self, graph: Graph, policy: Policy) -> PartWork:
        """Count jobs and bytes of coefficients of each operator."""
        from rocketnpu.verisilicon.assembly.work import part_work
        from rocketnpu.verisilicon.prepared import lower

        return part_work(lower(graph, self.soc, policy), self.soc)

    def explain(self, graph: Graph, number: int, policy: Policy) -> list[str]:
        """Say what an operator becomes, a line for each job."""
        from rocketnpu.verisilicon.prepared import lower

        return [str(task.label) for task in lower(graph, self.soc, policy).tasks if task.operator == number]

    def model(
        self, graph: Graph, inputs: Mapping[int, npt.NDArray[Any]], policy: Policy
    ) -> dict[int, npt.NDArray[Any]]:
        """Compute a part by the integer model; see :meth:`rocketnpu.family.Family.model`."""
        from rocketnpu.verisilicon.models.operator_model import graph_model

        return graph_model(graph, inputs, policy, self.soc)

    def bound(self, graph: Graph, operators: Sequence[Operator]) -> Bound:
        """Return the stated bound of operators that run as one."""
        from rocketnpu.verisilicon.models.bounds import bound_of

        return bound_of(graph, operators)

    def bound_of_kind(self, kind: str) -> Bound:
        """Return the stated bound of a kind of operator."""
        from rocketnpu.verisilicon.models.bounds import bound_of_kind

        return bound_of_kind(kind)

    @property
    def stated_exceptions(self) -> tuple[str, ...]:
        """Return what scales of channels do to a bound."""
        from rocketnpu.verisilicon.models.bounds import FOLDED

        return (
            f"convolutions and fully connected layers with several scales may be {FOLDED.steps} off where their "
            "scales lie far apart: `rocketnpu compare` states the bound of each",
        )

    def command_text(self, words: npt.NDArray[np.uint64], fetch: Fetch | None = None) -> str:
        """Return front-end commands as text, and the instructions that they start, where those can be read."""
        from rocketnpu.verisilicon.streams.text import task_lines

        return "\n".join(task_lines(words.view("<u4"), fetch))

    def output_addresses(self, words: npt.NDArray[np.uint64], kind: int, fetch: Fetch) -> list[int]:
        """Return where the instructions write that a task starts."""
        from rocketnpu.verisilicon.registers.jobs import instructions

        del kind
        return [fields["OUT_ADDRESS"] for _, fields in instructions(words.view("<u4"), fetch)]

    def recording(
        self, jobs: Sequence[DeviceJob], buffers: Sequence[Mapping[str, Any]], fetch: Fetch
    ) -> dict[str, Any]:
        """Describe a submission as recordings of the etnaviv driver do."""
        from rocketnpu.verisilicon.streams.bundle import describe

        return describe(self.soc, jobs, buffers, fetch)

    def simulator(self, *, strict: bool, compiled: bool = True, threads: int = 1) -> SimulatedChip:
        """Return a simulated NPU with empty memory; it is written in NumPy alone."""
        from rocketnpu.verisilicon.simulator.tasks import TaskNpu

        del compiled, threads
        return TaskNpu(self.soc, strict=strict)


def _family(soc: Soc, compatibles: tuple[str, ...]) -> VerisiliconFamily:
    return VerisiliconFamily(
        name=soc.name,
        family="verisilicon",
        title=soc.title,
        cores=1,
        compatibles=compatibles,
        node_advice=(
            "load the module (`modprobe etnaviv`); in the device tree the NPU's node (vivante,gc) needs "
            'status = "okay", and the kernel CONFIG_DRM_ETNAVIV'
        ),
        smallest_write=1,
        soc=soc,
    )


A311D_FAMILY = _family(A311D, ("amlogic,a311d",))
IMX8MP_FAMILY = _family(IMX8MP, ("fsl,imx8mp",))
