"""What was proven and refuted on a board: a file in the user's configuration folder, one for each identity.

A record is written by ``rocketnpu selftest --rules`` alone, and read wherever a policy for that very board is made. A
file that cannot be read is no record: nothing counts as proven then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rocketnpu.device.base import Device
from rocketnpu.device.group import DeviceGroup, cores_of
from rocketnpu.device.kernel import KernelDevice
from rocketnpu.device.standing import UNASKED, Standing, standing_of
from rocketnpu.errors import DeviceError, InputError
from rocketnpu.files.limits import RECORD_BYTES
from rocketnpu.files.reading import parse_json, read_file
from rocketnpu.files.writing import write_atomically
from rocketnpu.folders import config_folder, make_private
from rocketnpu.proofs.identity import Identity, identify
from rocketnpu.proofs.trial import Outcome, Result

FORMAT = 1
FOLDER = "boards"


@dataclass(frozen=True)
class Finding:
    """What is known of one rule on a board."""

    result: Result
    fits: str = ""
    """Of a refuted rule, which alternative holds instead."""
    date: str = ""
    """When it was found, as YYYY-MM-DD."""

    def __str__(self) -> str:
        told = {Result.PROVEN: "proven", Result.REFUTED: "refuted", Result.HANGS: "hangs"}.get(self.result, "not run")
        instead = f" ({self.fits})" if self.fits else ""
        return f"{told} on this board on {self.date}{instead}"


@dataclass(frozen=True)
class Record:
    """All findings of one board. Immutable."""

    identity: Identity
    findings: Mapping[str, Finding] = field(default_factory=dict)

    @property
    def proven(self) -> frozenset[str]:
        """Names of the rules that hold there."""
        return frozenset(name for name, found in self.findings.items() if found.result is Result.PROVEN)

    @property
    def refuted(self) -> frozenset[str]:
        """Names of the rules that do not, or whose programs hang."""
        bad = (Result.REFUTED, Result.HANGS)
        return frozenset(name for name, found in self.findings.items() if found.result in bad)

    @property
    def standing(self) -> Standing:
        """What a policy for that board wants to know."""
        told = {name: str(found) for name, found in self.findings.items()}
        proven, refuted = self.proven, self.refuted
        return Standing({name: told[name] for name in proven}, {name: told[name] for name in refuted})

    def with_outcomes(self, outcomes: Mapping[str, Outcome], today: str) -> Record:
        """Return the record after another run: what was not run stays as it was."""
        fresh = {
            rule: Finding(
                outcome.result, outcome.fits or (outcome.about if outcome.result is Result.HANGS else ""), today
            )
            for rule, outcome in outcomes.items()
            if outcome.result is not Result.NOT_RUN
        }
        return replace(self, findings={**self.findings, **fresh})

    @property
    def document(self) -> dict[str, Any]:
        """Everything, for JSON."""
        rules = {
            name: {"result": found.result.value, "fits": found.fits, "date": found.date}
            for name, found in sorted(self.findings.items())
        }
        return {"format": FORMAT, "board": self.identity.document, "rules": rules}

    @classmethod
    def of(cls, document: Any) -> Record:
        """Read it back.

        Raises:
            InputError: it is no record, or of another format.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InputError(f"no record of a board of format {FORMAT}")
        rules = document.get("rules")
        if not isinstance(rules, dict):
            raise InputError("the record names no rules")
        return cls(
            Identity.of(document.get("board")), {str(name): _finding(name, item) for name, item in rules.items()}
        )


def _finding(name: Any, item: Any) -> Finding:
    parts = [item.get(key) if isinstance(item, dict) else None for key in ("result", "fits", "date")]
    known = {result.value: result for result in Result}
    if not all(isinstance(part, str) for part in parts) or parts[0] not in known:
        raise InputError(f"the record's rule {name!r:.60} has no result, alternative and date")
    return Finding(known[str(parts[0])], str(parts[1]), str(parts[2]))


def path_of(identity: Identity) -> Path:
    """Return where a board's record lies.

    Raises:
        InputError: the user has no folder for configuration.
    """
    return config_folder() / FOLDER / f"{identity.key}.json"


def load(identity: Identity) -> Record:
    """Read a board's record; an empty one where there is none, or none that can be understood."""
    try:
        found = Record.of(parse_json(read_file(path_of(identity), RECORD_BYTES, "record", InputError)))
    except (ValueError, InputError):
        return Record(identity)
    return found if found.identity == identity else Record(identity)


def save(record: Record) -> Path:
    """Write a board's record whole, or leave the older one; return where.

    Raises:
        DeviceError: it cannot be written.
    """
    path = path_of(record.identity)
    try:
        make_private(path.parent)
        write_atomically(path, (json.dumps(record.document, indent=1) + "\n").encode(), 0o644)
    except (OSError, InputError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DeviceError(f"cannot write the board's record {path}: {reason}") from None
    return path


def today() -> str:
    """Return the date, as records have it."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def know(device: Device) -> Device:
    """Tell an open device what its board's record says; return it."""
    for member in cores_of(device):
        if isinstance(member, KernelDevice):
            identity = identify(member)
            member.standing = UNASKED if identity is None else load(identity).standing
    if isinstance(device, DeviceGroup):
        device.standing = standing_of(device.members[0])
    return device
