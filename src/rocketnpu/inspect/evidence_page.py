"""The table of hardware rules as a page: ``docs/hardware/evidence.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rocketnpu.evidence import OPTIONAL, PROVEN, Evidence, EvidenceTable, HardwareRule, Risk

_HEAD = """# What speaks for each hardware rule

<!-- Printed by `rocketnpu evidence --page evidence`; edit the chip's evidence.py instead. -->

Compiler and simulator rely on the rules below. For each there is what speaks for it, where that is found, and the test
that pins the rule. Sources are sections of the project's hardware documents; "CI" are the published lists of Mesa's
test models that pass or fail on an {chip}.

| evidence | meaning | rules |
|---|---|---|"""
_MEANINGS = {
    Evidence.SILICON: "somebody recorded it on a board, an {chip} unless another chip is named",
    Evidence.DRIVER: "an open driver does it, and people run that driver on {chip}",
    Evidence.VENDOR_KERNEL: "the same with the vendor's kernel driver, which starts tasks in another way",
    Evidence.RELATIVE: "somebody recorded it on a board with a smaller or later chip of the family",
    Evidence.REPORTED: "somebody says that it runs, in another precision or without the bytes, or others disagree",
    Evidence.VENDOR: "the vendor's compiler or runtime does it; nobody recorded the result",
    Evidence.MANUAL: "the manual says so, or the design that the chip descends from",
    Evidence.ASSUMED: "an inference; the source says from what",
}


def evidence_page(table: EvidenceTable, risks: Sequence[Risk] = ()) -> str:
    """Return the page of a chip's rules, and of what programs do that no chip has been seen to do, as Markdown."""
    return "\n".join([*_lines(table), *_risk_lines(risks)]) + "\n"


def _risk_lines(risks: Sequence[Risk]) -> Iterator[str]:
    if not risks:
        return
    yield from ("", "## What no chip has been seen to do", "")
    yield (
        "Programs write these values although no list that is known to have run has them. They are no rules, and "
        "nothing is refused for them; `rocketnpu inspect --risks` lists those of a model."
    )
    yield from ("", "| risk | what is unseen | source |", "|---|---|---|")
    yield from (f"| `{risk.name}` | {risk.statement} | {risk.source} |" for risk in risks)


def _lines(table: EvidenceTable) -> Iterator[str]:
    head, _, columns = _HEAD.format(chip=table.chip).rpartition("\n\n")
    yield head
    yield from ("", table.note) if table.note else ()
    yield ""
    yield columns
    counts = Counter(rule.evidence for rule in table.rules.values())
    for kind, meaning in _MEANINGS.items():
        yield f"| {kind.value} | {meaning.format(chip=table.chip)} | {counts[kind]} |"
    yield ""
    proven = " or ".join(f'"{kind.value}"' for kind in Evidence if kind in PROVEN)
    yield (
        f"A rule counts as proven with the evidence {proven}, for the vendor's driver also with "
        f'"{Evidence.VENDOR_KERNEL.value}". A board may prove or refute the others: `rocketnpu selftest --rules`.'
    )
    for title, rules in table.sections.items():
        yield from ("", f"## {title}", "")
        if title == OPTIONAL:
            yield (
                "A program that needs one of these carries its name. A device refuses such a program unless unproven "
                "rules are allowed (`--allow-unproven`); the simulator runs it. Where a board may hang (marked !) "
                "no permission helps, only a proof on that board."
            )
            yield ""
        yield from ("| rule | statement | evidence | source | test |", "|---|---|---|---|---|")
        yield from (_row(rule) for rule in rules)


def _row(rule: HardwareRule) -> str:
    cells = (
        f"`{rule.name}`{' !' if rule.hangs else ''}",
        rule.statement,
        rule.evidence.value,
        rule.source,
        f"`{rule.test}`",
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
