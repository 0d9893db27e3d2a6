"""What speaks for a hardware rule, and when a rule counts as proven. Each chip brings a table of its own rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Protocol, Self

from rocketnpu.errors import DeviceError


class Evidence(Enum):
    """What speaks for a rule, the strongest first."""

    SILICON = "recorded on silicon"
    DRIVER = "open driver known to run"
    VENDOR_KERNEL = "recorded under the vendor's kernel"
    RELATIVE = "recorded on a relative"
    REPORTED = "reported to run"
    VENDOR = "vendor stream"
    MANUAL = "manual"
    ASSUMED = "assumed"


PROVEN = frozenset({Evidence.SILICON, Evidence.DRIVER})
"""Evidence that lets a program run on a device without ``--allow-unproven``, whichever driver it has."""
PROVEN_FOR_VENDOR = PROVEN | {Evidence.VENDOR_KERNEL}
"""The same where the vendor's kernel driver runs it: it starts tasks in another way than the mainline one."""
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
    hangs: bool = False
    """Whether a board may hang for good where it does not hold: then no permission to use unproven rules helps."""

    @property
    def is_proven(self) -> bool:
        """Whether it has been seen to hold on this chip."""
        return self.is_proven_for("mainline")

    def is_proven_for(self, target: str) -> bool:
        """Say whether it has been seen to hold on this chip under a target's driver, ``mainline`` or ``vendor``."""
        return self.evidence in (PROVEN_FOR_VENDOR if target == "vendor" else PROVEN)


class Permission(Protocol):
    """What decides whether a program may rely on a rule: a :class:`rocketnpu.policy.Policy`."""

    @property
    def allow_unproven(self) -> bool:
        """Whether rules without proof may be used."""

    @property
    def refuted(self) -> frozenset[str]:
        """Names of rules that the board refuted."""

    def allows(self, rule: HardwareRule) -> bool:
        """Say whether a program may rely on a rule."""


@dataclass(frozen=True)
class Risk:
    """Something that programs do and no chip has been seen to do; no rule, and nothing is refused for it."""

    name: str
    statement: str
    source: str


@dataclass(frozen=True)
class EvidenceTable:
    """All hardware rules of one chip, in sections by what they are about."""

    chip: str
    """The chip's name for people."""
    sections: Mapping[str, tuple[HardwareRule, ...]]
    note: str = ""
    """What must be known before a rule is read; empty where there is nothing."""

    @classmethod
    def read(cls, chip: str, text: str, note: str = "") -> Self:
        """Read a table: sections, ``## TITLE``; in each, rules of three lines.

        The lines are name and statement; evidence and source; the test, below ``tests/``. An exclamation mark behind
        the name says that a board may hang where the rule does not hold.

        Raises:
            ValueError: a line names no kind of evidence.
        """
        sections: dict[str, list[HardwareRule]] = {}
        for title, rule in _rules(text):
            sections.setdefault(title, []).append(rule)
        return cls(chip, {title: tuple(rules) for title, rules in sections.items()}, note)

    @cached_property
    def rules(self) -> Mapping[str, HardwareRule]:
        """All rules by name."""
        return {rule.name: rule for rules in self.sections.values() for rule in rules}

    def refuse_unproven(self, names: Iterable[str], device: str, policy: Permission) -> None:
        """Refuse a program that relies on rules nobody has seen to hold on this chip, or that this board refuted.

        Args:
            names: names of the rules that the program carries.
            device: name of the device, for the message.
            policy: what is allowed there; see :meth:`rocketnpu.policy.Policy.allows`.

        Raises:
            DeviceError: one is not allowed; the message names each, its evidence, and what to do.
        """
        rules = self.rules
        doubtful = [name for name in names if not self.allows(name, policy)]
        if not doubtful:
            return
        refuted = [name for name in doubtful if name in policy.refuted]
        if refuted:
            raise DeviceError(
                f"{device}: the program relies on hardware rules that this board refuted: {', '.join(refuted)}. "
                "Compile it anew for this board; `rocketnpu selftest --rules` says what was seen"
            )
        shown = "; ".join(f"{name} ({rules[name].evidence.value if name in rules else 'unknown'})" for name in doubtful)
        hangs = [name for name in doubtful if name in rules and rules[name].hangs]
        permission = "or allow unproven rules (--allow-unproven)"
        if hangs:
            permission = f"or prove them on this board (`rocketnpu selftest --rules`), for {hangs[0]} may hang it"
        raise DeviceError(
            f"{device}: the program relies on hardware rules that are not proven on this chip: {shown}. Compile it for "
            f"proven rules only, run it on the simulator, {permission}; `rocketnpu evidence` describes them"
        )

    def allows(self, name: str, policy: Permission) -> bool:
        """Say whether a policy allows a rule; one that is not in the table is as unproven as one can be."""
        rule = self.rules.get(name)
        return policy.allow_unproven if rule is None else policy.allows(rule)


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
        kind, hangs = Evidence(evidence), name.endswith("!")
        yield title, HardwareRule(name.rstrip("!"), statement, kind, source, test, title == OPTIONAL, hangs)
