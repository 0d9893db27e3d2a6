"""The stated bounds of a chip in words."""

from __future__ import annotations

from collections.abc import Sequence

from rocketnpu.family import Family


def stated_bounds(family: Family) -> dict[str, str]:
    """Return in words how far each kind of operator may be from the reference, for every kind that the NPU takes."""
    words = {}
    for operator in family.published():
        bound = family.bound_of_kind(operator.kind)
        words[operator.kind] = (
            f"at most {bound.steps}, for {bound.reason}" if bound.steps else f"none, for {bound.reason}"
        )
    return words


def chips_page(families: Sequence[Family]) -> str:
    """Return the page docs/operators-by-chip.md, in Markdown: each kind of operator, and how far it may be from the
    reference on each chip.
    """
    published = [{operator.kind: operator for operator in family.published()} for family in families]
    kinds = sorted({kind for table in published for kind in table})
    lines = [
        "# Operators by chip",
        "",
        "Made by `rocketnpu operators --by-chip`. A number is how many steps of its output an operator may be from",
        "LiteRT's reference kernels given the same inputs; a dash: the CPU runs it. What each takes of a kind, and how",
        "it is done, says `rocketnpu operators KIND --chip NAME`; for the RK3588",
        "[supported-operators.md](supported-operators.md) does too. Of chips of which no byte from silicon is public,",
        "the numbers hold for the simulator.",
        "",
        f"| operator | {' | '.join(family.title for family in families)} |",
        f"|---|{'---|' * len(families)}",
    ]
    for kind in kinds:
        steps = [
            str(family.bound_of_kind(kind).steps) if kind in table else "-"
            for family, table in zip(families, published, strict=True)
        ]
        lines.append(f"| {kind} | {' | '.join(steps)} |")
    notes = [f"* {family.title}: {note}" for family in families for note in family.stated_exceptions]
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"
