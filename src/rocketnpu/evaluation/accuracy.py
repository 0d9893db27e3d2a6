"""How often a classifier is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rocketnpu.evaluation.judge import Verdict
from rocketnpu.evaluation.samples import Sample


@dataclass(frozen=True)
class Bad:
    """A picture that could not be read."""

    name: str
    reason: str


@dataclass(frozen=True)
class Mistaken:
    """A cell of the confusion matrix that is not empty."""

    truth: str
    answer: str
    count: int


@dataclass(frozen=True)
class Rate:
    """One side's answers. Shares are from 0 to 1."""

    top1: float
    top5: float
    right: int
    """Pictures whose first answer is right."""
    right_in_five: int
    confusion: tuple[Mistaken, ...]
    """By truth and answer, right ones too."""


@dataclass(frozen=True)
class Difference:
    """The chip held against the reference."""

    top1: float
    """The chip's share less the reference's."""
    top5: float
    same_answer: int
    """Pictures to which both give the same first answer."""
    only_reference_right: int
    only_chip_right: int
    largest: float
    """Between two outputs, in the steps of the model's own output where that is quantised."""


@dataclass(frozen=True)
class Accuracy:
    """A whole evaluation."""

    pictures: int
    """That were judged."""
    bad: tuple[Bad, ...]
    reference: Rate
    chip: Rate
    difference: Difference


def bad_ones(samples: Sequence[Sample], verdicts: Iterable[Verdict]) -> tuple[Bad, ...]:
    """Return the pictures that could not be read."""
    names = {sample.number: sample.name for sample in samples}
    return tuple(Bad(names[one.number], one.error) for one in verdicts if one.error)


def accuracy(samples: Sequence[Sample], verdicts: Sequence[Verdict], names: Sequence[str]) -> Accuracy:
    """Count; the order of verdicts does not matter to the result, as they are integers."""
    truths = {sample.number: sample.truth for sample in samples}
    good = [one for one in verdicts if not one.error]
    pairs = [(truths[one.number], one) for one in good]
    reference = _rate([(truth, one.reference) for truth, one in pairs], names)
    chip = _rate([(truth, one.chip) for truth, one in pairs], names)
    rights = Counter((one.reference[0] == truth, one.chip[0] == truth) for truth, one in pairs)
    return Accuracy(
        len(good),
        bad_ones(samples, verdicts),
        reference,
        chip,
        Difference(
            (chip.right - reference.right) / max(1, len(good)),
            (chip.right_in_five - reference.right_in_five) / max(1, len(good)),
            sum(one.reference[0] == one.chip[0] for one in good),
            rights[True, False],
            rights[False, True],
            max((one.apart for one in good), default=0.0),
        ),
    )


def _rate(answers: Sequence[tuple[int, tuple[int, ...]]], names: Sequence[str]) -> Rate:
    right = sum(best[0] == truth for truth, best in answers)
    near = sum(truth in best for truth, best in answers)
    cells = Counter((truth, best[0]) for truth, best in answers)
    confusion = tuple(Mistaken(names[truth], names[answer], count) for (truth, answer), count in sorted(cells.items()))
    number = max(1, len(answers))
    return Rate(right / number, near / number, right, near, confusion)
