"""What this family brings for each of its chips. Nothing is compiled for them yet: they are simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from rocketnpu.errors import UnsupportedError
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


@dataclass(frozen=True)
class NothingTaken:
    """Refuses every operator."""

    title: str

    def refusal(self, operator: Operator) -> str | None:
        """Say why."""
        del operator
        return f"nothing is compiled for the {self.title} yet: other compilers' streams for it are simulated"

    def computes_nothing(self, operator: Operator) -> bool:
        """Say that no operator is placed."""
        del operator
        return False

    def is_view(self, operator: Operator) -> bool:
        """Say that no operator is a view of anything on the NPU."""
        del operator
        return False


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

    def checker(self, graph: Graph, policy: Policy) -> NothingTaken:
        """Return what refuses every operator."""
        del graph, policy
        return NothingTaken(self.title)

    def published(self) -> tuple[PublishedOperator, ...]:
        """Return no rules: no operator is taken."""
        return ()

    def prepare(self, graph: Graph, policy: Policy) -> Graph:
        """Return the graph as it is."""
        del policy
        return graph

    def compile(self, graph: Graph, policy: Policy) -> Program:
        """Refuse; see :meth:`rocketnpu.family.Family.compile`."""
        del policy
        self._refuse(graph.name)

    def work(self, graph: Graph, policy: Policy) -> PartWork:
        """Refuse: nothing is compiled."""
        del policy
        self._refuse(graph.name)

    def model(
        self, graph: Graph, inputs: Mapping[int, npt.NDArray[Any]], policy: Policy
    ) -> dict[int, npt.NDArray[Any]]:
        """Refuse: nothing is compiled that a model could be held against."""
        del inputs, policy
        self._refuse(graph.name)

    def bound(self, graph: Graph, operators: Sequence[Operator]) -> Bound:
        """Refuse: no operator is taken."""
        del operators
        self._refuse(graph.name)

    def bound_of_kind(self, kind: str) -> Bound:
        """Refuse: no operator is taken."""
        self._refuse(kind)

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
        """Refuse: there are no programs for it; recordings are replayed without a device."""
        del strict, compiled, threads
        self._refuse("a program")

    def _refuse(self, what: str) -> NoReturn:
        raise UnsupportedError(
            f"{what}: nothing is compiled for the {self.title} yet; `rocketnpu replay` and `rocketnpu emulate --chip "
            f"{self.name}` run other compilers' streams for it"
        )


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
