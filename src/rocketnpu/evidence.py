"""What speaks for a hardware rule, and when a rule counts as proven. Each chip brings a table of its own rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Self

from rocketnpu.errors import DeviceError


class Evidence(Enum):
    """What speaks for a rule, the strongest first."""

    SILICON = "recorded on silicon"
    DRIVER = "open driver known to run"
    VENDOR = "vendor stream"
    MANUAL = "manual"
    ASSUMED = "assumed"


PROVEN = frozenset({Evidence.SILICON, Evidence.DRIVER})
"""Evidence that lets a program run on a device without ``--allow-unproven``."""
OPTIONAL = "Optional rules"
"""Section of the rules that a program may need or do without."""


@dataclass(frozen=True)
class HardwareRule:
    """One fact about a chip that code depends on."""

    name: str
    statement: str
    evidence: Evidence
    source: str
    test: str
    """Test that pins it, as ``file::name``."""
    optional: bool = False
    """Whether a program can do without it: then one that needs it says so, and is refused where it is not proven."""

    @property
    def is_proven(self) -> bool:
        """Whether it has been seen to hold on this chip."""
        return self.evidence in PROVEN


@dataclass(frozen=True)
class EvidenceTable:
    """All hardware rules of one chip, in sections by what they are about."""

    chip: str
    """The chip's name for people."""
    sections: Mapping[str, tuple[HardwareRule, ...]]

    @classmethod
    def read(cls, chip: str, text: str) -> Self:
        """Read a table: sections, ``## TITLE``; in each, rules of three lines.

        The lines are name and statement; evidence and source; the test, below ``tests/``.

        Raises:
            ValueError: a line names no kind of evidence.
        """
        sections: dict[str, list[HardwareRule]] = {}
        for title, rule in _rules(text):
            sections.setdefault(title, []).append(rule)
        return cls(chip, {title: tuple(rules) for title, rules in sections.items()})

    @cached_property
    def rules(self) -> Mapping[str, HardwareRule]:
        """All rules by name."""
        return {rule.name: rule for rules in self.sections.values() for rule in rules}

    def refuse_unproven(self, names: Iterable[str], device: str) -> None:
        """Refuse a program that relies on rules nobody has seen to hold on this chip.

        Args:
            names: names of the rules that the program carries.
            device: name of the device, for the message.

        Raises:
            DeviceError: one is not proven; the message names each, its evidence, and what to do.
        """
        rules = self.rules
        doubtful = [name for name in names if name not in rules or not rules[name].is_proven]
        if not doubtful:
            return
        shown = "; ".join(f"{name} ({rules[name].evidence.value if name in rules else 'unknown'})" for name in doubtful)
        raise DeviceError(
            f"{device}: the program relies on hardware rules that are not proven on this chip: {shown}. Compile it for "
            "proven rules only, run it on the simulator, or allow unproven rules (--allow-unproven); "
            "`rocketnpu evidence` describes them"
        )


def _rules(text: str) -> Iterator[tuple[str, HardwareRule]]:
    """Yield each rule of a table with the title of its section."""
    title = ""
    lines = iter(text.strip().splitlines())
    for line in lines:
        if line.startswith("## "):
            title = line.removeprefix("## ")
            continue
        name, _, statement = line.partition(": ")
        evidence, _, source = next(lines).strip().partition("; ")
        test = f"tests/{next(lines).strip()}"
        yield title, HardwareRule(name, statement, Evidence(evidence), source, test, title == OPTIONAL)
