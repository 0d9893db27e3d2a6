"""A program whose output tells a hardware rule from its named alternatives, and what a board's answer means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from rocketnpu.policy import Target
from rocketnpu.program.program import Program

RULE = "the rule"
"""Name of the answer that the rule itself predicts, among a trial's answers."""


class Hazard(IntEnum):
    """What the worst is that a program can do to a board, the least first."""

    HARMLESS = 0
    """Everything it uses is known to run; only values are in question."""
    MAY_TIME_OUT = 1
    """A job may end in the driver's time-out, from which boards recover."""
    MAY_HANG = 2
    """The board may need its power cut."""


class Result(Enum):
    """What became of a rule on a board."""

    PROVEN = "proven"
    REFUTED = "refuted"
    HANGS = "hangs"
    NOT_RUN = "not run"


@dataclass(frozen=True, eq=False)
class Trial:
    """One program and its possible outputs. Immutable; its program is placed and run like any other."""

    rule: str
    name: str
    """Distinct among the trials of a rule."""
    program: Program
    place: tuple[int, int, int]
    """Buffer, offset and size of the output that is looked at."""
    answers: Mapping[str, bytes]
    """What lies there under the rule (:data:`RULE`) and under each named alternative; no two are alike."""
    hazard: Hazard = Hazard.HARMLESS
    targets: tuple[Target, ...] = ("simulator", "mainline", "vendor")
    """Where it can be run at all."""
    needs: tuple[str, ...] = ()
    """Rules that its output depends on besides; it tells nothing where one of them does not hold."""

    @property
    def key(self) -> str:
        """Rule and name, as journals and reports have it."""
        return f"{self.rule}: {self.name}"


@dataclass(frozen=True)
class Outcome:
    """What one trial gave."""

    rule: str
    trial: str
    result: Result
    fits: str = ""
    """Of a refuted rule, the alternative whose answer came out, or that none did."""
    about: str = ""
    """Why it hangs or was not run; what came out where no answer fits."""


NONE_FITS = "none fits"


def judge(trial: Trial, found: bytes) -> Outcome:
    """Say what an output means."""
    for name, wanted in trial.answers.items():
        if found == wanted:
            result = Result.PROVEN if name == RULE else Result.REFUTED
            return Outcome(trial.rule, trial.name, result, "" if name == RULE else name)
    wanted = trial.answers[RULE]
    wrong = [place for place, (one, other) in enumerate(zip(found, wanted, strict=True)) if one != other]
    about = (
        f"{len(wrong)} of {len(wanted)} bytes differ, the first at {wrong[0]}: {found[wrong[0]]} for {wanted[wrong[0]]}"
    )
    return Outcome(trial.rule, trial.name, Result.REFUTED, NONE_FITS, about)


def summary(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    """Say what all trials of each rule mean together: one that hangs or refutes outweighs those that agree.

    A rule is proven where every one of its trials ran and agrees.
    """
    order = (Result.HANGS, Result.REFUTED, Result.NOT_RUN, Result.PROVEN)
    found: dict[str, Outcome] = {}
    for outcome in outcomes:
        known = found.get(outcome.rule)
        if known is None or order.index(outcome.result) < order.index(known.result):
            found[outcome.rule] = outcome
    return found
