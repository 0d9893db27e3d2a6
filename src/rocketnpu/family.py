"""What a family of chips brings, as one value for each chip; and the chips by name.

Partition, compiler, passes, delegate, devices, inspection and the command line are given a :class:`Family`, or find
it by the name in a :class:`~rocketnpu.policy.Policy` or a program. They import nothing of a chip themselves.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from rocketnpu.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rocketnpu.board.machine import Hardware, Verdict
    from rocketnpu.device.base import DeviceJob, Driver
    from rocketnpu.device.machine import Fact, Machine
    from rocketnpu.estimate.estimate import Board, Conditions, Spread, TimedTask
    from rocketnpu.evidence import EvidenceTable, Risk
    from rocketnpu.graph import Graph, Operator
    from rocketnpu.inspect.bounds import Bound
    from rocketnpu.inspect.work import PartWork
    from rocketnpu.memory import Memory
    from rocketnpu.partition.price import Price
    from rocketnpu.partition.published import PublishedOperator
    from rocketnpu.policy import Policy, Target
    from rocketnpu.program.program import Program
    from rocketnpu.program.split import SharedProgram, SplitProgram
    from rocketnpu.proofs.trial import Trial

_CHIPS = {
    "rk3588": "rocketnpu.rockchip.family:RK3588_FAMILY",
    "a311d": "rocketnpu.verisilicon.family:A311D_FAMILY",
    "imx8mp": "rocketnpu.verisilicon.family:IMX8MP_FAMILY",
}
"""Where each chip's family is defined; it is imported when it is first asked for."""


Fetch = Callable[[int, int], bytes | None]
"""Reads so many bytes at an address as the NPU sees it; None where there is no such memory."""


class Checker(Protocol):
    """Decides about the operators of one graph under one policy."""

    def refusal(self, operator: Operator) -> str | None:
        """Say why the NPU does not take an operator (the rule it fails and the value found), or return None."""

    def computes_nothing(self, operator: Operator) -> bool:
        """Say whether an operator's output lies where its input is, so that nothing is left to do."""

    def is_view(self, operator: Operator) -> bool:
        """Say whether an operator only gives the same memory another shape."""


class SimulatedChip(Protocol):
    """A simulated core: memory, and command lists that run on it."""

    memory: Memory

    def begin_job(self) -> None:
        """Start another job: nothing of the one before may be relied on."""

    def run_task(self, address: int, words: int, *, task: int | None = None) -> Any:
        """Run one command list of ``words`` words at ``address``, and return a report.

        Raises:
            SimulationError: it does what the hardware does not define; the message names ``task`` if given.
        """


@dataclass(frozen=True)
class Family(abc.ABC):
    """One chip, and what its family of chips brings for it. Immutable; its methods may be called from any thread."""

    name: str
    """The chip's name on the command line, in programs and policies."""
    family: str
    """The family's name: the folder of its code."""
    title: str
    """The chip's name for people."""
    cores: int
    """NPU cores that work independently."""

    compatibles: tuple[str, ...]
    """What device trees call the chip."""
    node_advice: str
    """What the owner of a board without a device node should look at."""
    smallest_write: int
    """The least bytes that any task writes where its output begins."""

    @property
    @abc.abstractmethod
    def evidence(self) -> EvidenceTable:
        """What speaks for each hardware rule of this chip."""

    @property
    @abc.abstractmethod
    def drivers(self) -> tuple[Driver, ...]:
        """The kernel drivers by which this chip is reached, the preferred one first."""

    def target_of(self, device: str) -> Target:
        """Return whose rules programs for a device follow, by its name: its kernel driver's, or the simulator's."""
        return next((driver.target for driver in self.drivers if driver.name == device), "simulator")

    @property
    def risks(self) -> tuple[Risk, ...]:
        """What programs do that no chip has been seen to do."""
        return ()

    def program_risks(self, program: Program) -> Sequence[tuple[str, int, str]]:
        """Return a risk's name, an operator and a value for each task of a program that does something unseen."""
        del program
        return ()

    def trials(self) -> tuple[Trial, ...]:
        """Return the programs that ask a board for the rules that are not proven, from harmless to what may hang."""
        return ()

    @property
    def not_asked(self) -> Mapping[str, str]:
        """Rules without proof that no program asks, and why."""
        return {}

    @abc.abstractmethod
    def board_facts(self, machine: Machine) -> tuple[Fact, ...]:
        """Look at what only a board with this chip has; "kernel" and "module" are among the facts."""

    def clock_overlay(self, mhz: int | None) -> str:
        """Return the source of a device-tree overlay that sets the NPU's clock, to the highest safe rate if None.

        Raises:
            UnsupportedError: nobody knows how for this chip, or it does not run at such a rate.
        """
        raise UnsupportedError(f"no device-tree overlay is known that raises the clock of the {self.title}")

    @abc.abstractmethod
    def checker(self, graph: Graph, policy: Policy) -> Checker:
        """Return what decides about a graph's operators."""

    @abc.abstractmethod
    def published(self) -> tuple[PublishedOperator, ...]:
        """Return the published rules of every kind of operator that the NPU takes, in alphabetical order."""

    @abc.abstractmethod
    def prepare(self, graph: Graph, policy: Policy) -> Graph:
        """Return the graph that is really run: all passes, where the NPU takes what comes out of them."""

    @abc.abstractmethod
    def compile(self, graph: Graph, policy: Policy) -> Program:
        """Compile a graph all of whose operators the NPU takes.

        Raises:
            UnsupportedError: an operator cannot be run, or nothing is left to compute.
            RegisterFieldError: a value does not fit its register.
        """

    def split(
        self, graph: Graph, policy: Policy, cores: int, *, shares_memory: bool = False
    ) -> SplitProgram | SharedProgram | None:
        """Compile a graph for several cores that work on one inference, or return None where the estimate says that
        one core is not slower, barriers included. Where the cores share memory, it is one program.

        Raises:
            UnsupportedError: as :meth:`compile`.
        """
        return None

    def split_us(self, graph: Graph, policy: Policy, conditions: Conditions, cores: int) -> float | None:
        """Estimate a part on several cores that share one inference: microseconds of the NPU and of the barriers, or
        None where it cannot be split. Where one core is not slower, it is that core's time.

        Raises:
            UnsupportedError: as :meth:`compile`.
        """
        return None

    @abc.abstractmethod
    def work(self, graph: Graph, policy: Policy) -> PartWork:
        """Count what each operator of a part becomes on the chip.

        Raises:
            UnsupportedError: as :meth:`compile`.
        """

    def explain(self, graph: Graph, number: int, policy: Policy) -> list[str]:
        """Say how an operator of a part is cut into tasks, and what else was considered, a line each.

        Empty where there was no choice, or a pass made it part of another.
        """
        return []

    @abc.abstractmethod
    def model(
        self, graph: Graph, inputs: Mapping[int, npt.NDArray[Any]], policy: Policy
    ) -> dict[int, npt.NDArray[Any]]:
        """Compute in plain integers what the chip must give for a graph all of whose operators it takes.

        Args:
            graph: usually a single operator, or a part.
            inputs: elements of the graph's inputs, by tensor number.
            policy: that of the compilation.

        Returns:
            Elements of every tensor that an operator makes, after all graph passes.

        Raises:
            UnsupportedError: the NPU does not take an operator.
        """

    @abc.abstractmethod
    def bound(self, graph: Graph, operators: Sequence[Operator]) -> Bound:
        """Return how far an operator, or several run as one, may be from the reference kernels given its inputs."""

    @abc.abstractmethod
    def bound_of_kind(self, kind: str) -> Bound:
        """Return how far a single operator of a kind may be from the reference kernels given its inputs."""

    @property
    def stated_exceptions(self) -> tuple[str, ...]:
        """What widens the bounds of :meth:`bound_of_kind` in some cases, a sentence each."""
        return ()

    def board(self, conditions: Conditions) -> tuple[Board, Spread]:
        """Describe a board under some conditions, and how far estimates for it are off.

        Raises:
            UnsupportedError: nobody has fitted a timing model of this chip.
        """
        raise UnsupportedError(f"there is no timing model of the {self.title}: nobody published times of its layers")

    def price(self, graph: Graph, part: Graph, policy: Policy) -> Price | None:
        """Estimate a part of a graph on the NPU, cut included, and on the CPU; None where nobody can."""
        return None

    def timed(self, program: Program, conditions: Conditions) -> tuple[TimedTask, ...]:
        """Estimate how long each task of a program takes.

        Raises:
            UnsupportedError: as :meth:`board`.
        """
        raise UnsupportedError(f"there is no timing model of the {self.title}: nobody published times of its layers")

    def virtual_npu(self, observe: Callable[[Verdict], None]) -> Hardware:
        """Return this chip's NPU for a virtual machine; ``observe`` is told of every task.

        Raises:
            UnsupportedError: there is none.
        """
        del observe
        raise UnsupportedError(f"there is no virtual board with the {self.title}")

    @abc.abstractmethod
    def command_text(self, words: npt.NDArray[np.uint64], fetch: Fetch | None = None) -> str:
        """Return a command list as text, a command a line; and what it leads to in memory, where that can be read."""

    @abc.abstractmethod
    def output_addresses(self, words: npt.NDArray[np.uint64], kind: int, fetch: Fetch) -> list[int]:
        """Return the addresses at which a task of a kind begins to write; ``fetch`` reads what its words lead to."""

    @abc.abstractmethod
    def recording(
        self, jobs: Sequence[DeviceJob], buffers: Sequence[Mapping[str, Any]], fetch: Fetch
    ) -> dict[str, Any]:
        """Describe a submission as the recordings of this family's drivers do, for ``recording.json``.

        Args:
            jobs: what was submitted.
            buffers: handle, address, size and role of each buffer, and the file that holds its bytes unless all are 0.
            fetch: reads the buffers.

        Returns:
            The format, the submissions, and whatever else the format asks for beside producer and model.
        """

    @abc.abstractmethod
    def simulator(self, *, strict: bool, compiled: bool = True, threads: int = 1) -> SimulatedChip:
        """Return a simulated core with empty memory.

        Args:
            strict: refuse what silicon would compute wrongly.
            compiled: whether compiled code may compute, where the family has some.
            threads: how many threads that code may use.
        """


def chips() -> tuple[str, ...]:
    """Return the names of all chips."""
    return tuple(_CHIPS)


@cache
def family_of(chip: str) -> Family:
    """Return the family of a chip.

    Raises:
        InputError: there is no such chip; the message lists those that there are.
    """
    if chip not in _CHIPS:
        raise InputError(f"there is no chip {chip!r}; the chips are {', '.join(_CHIPS)}")
    module, _, name = _CHIPS[chip].partition(":")
    found: Family = getattr(import_module(module), name)
    return found
