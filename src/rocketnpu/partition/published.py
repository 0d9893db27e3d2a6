"""The rules as documentation: what ``docs/supported-operators.md`` says is made here from the code that decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rocketnpu.graph.passes import ENABLING


@dataclass(frozen=True)
class Means:
    """How a kind of operator is done."""

    sentence: str
    unproven: tuple[str, ...] = ()
    """Hardware rules without proof on this chip that some cases need; with proven rules only, those cases stay on the
    CPU or are done another way.
    """


@dataclass(frozen=True)
class PublishedOperator:
    """All that is published of one kind of operator."""

    kind: str
    means: Means
    rules: tuple[str, ...]


def text_of(rule: Callable[..., object]) -> str:
    """Return a rule's published text: its docstring, on one line."""
    return " ".join((rule.__doc__ or "").split())


def first_failure(rules: Iterable[Callable[..., str | None]], *given: object) -> str | None:
    """Say which of an operator's rules fails first and the value found, or return None; rules are asked ``given``."""
    failures = ((rule, rule(*given)) for rule in rules)
    return next((f"{text_of(rule)} Found: {failed}" for rule, failed in failures if failed is not None), None)


def page(operators: Iterable[PublishedOperator], bounds: Mapping[str, str]) -> str:
    """Return the page, in Markdown.

    Args:
        operators: what a chip's family publishes.
        bounds: the stated distance from LiteRT's reference kernels, by kind of operator.
    """
    lines = [
        "# Operators that the NPU takes",
        "",
        "Made by `rocketnpu operators --markdown` from the rules by which the partitioner decides. What fails a rule",
        "runs on the CPU, and `rocketnpu inspect` says which rule and the value found. Distances are from LiteRT's",
        "`BUILTIN_REF` kernels given the same inputs, in steps of the output. Names such as `integer-relux` are",
        "hardware rules without proof on this chip; [hardware/evidence.md](hardware/evidence.md) has their stories.",
    ]
    for operator in operators:
        lines += ["", f"## {operator.kind}", "", operator.means.sentence]
        lines += ["", f"Distance: {bounds[operator.kind]}.", ""]
        lines += [f"* {rule}" for rule in operator.rules]
        if operator.means.unproven:
            names = ", ".join(f"`{name}`" for name in operator.means.unproven)
            lines += ["", f"Some cases need unproven rules: {names}."]
    lines += ["", "## What becomes of other operators", ""]
    lines += ["Before operators are judged, these changes are made wherever the NPU takes what comes out of them."]
    for step in ENABLING:
        lines += ["", f"* **{step.__name__.replace('_', ' ')}**: {text_of(step)}"]
    return "\n".join(lines) + "\n"
