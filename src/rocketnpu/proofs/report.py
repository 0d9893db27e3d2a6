"""What a board answered, as a file to send: written by ``selftest --rules --report``, read by ``evidence --import``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rocketnpu._version import __version__
from rocketnpu.device.machine import Fact
from rocketnpu.errors import InputError
from rocketnpu.files.limits import RECORD_BYTES
from rocketnpu.files.reading import parse_json, read_file
from rocketnpu.proofs.identity import Identity
from rocketnpu.proofs.record import Record
from rocketnpu.proofs.trial import Outcome, summary

KIND = "rocketnpu rules"


@dataclass(frozen=True)
class Report:
    """One board's answers, as somebody sent them."""

    path: Path
    record: Record
    version: str
    """Of the package that asked."""


def report(
    identity: Identity | None, outcomes: Sequence[Outcome], date: str, machine: Sequence[Fact]
) -> dict[str, Any]:
    """Return all that was found, as values for JSON; the simulator signs as itself."""
    who = identity or Identity("simulator", "simulator", __version__, "", "simulator")
    found = Record(who).with_outcomes(summary(outcomes), date)
    trials = [
        {"rule": o.rule, "trial": o.trial, "result": o.result.value, "fits": o.fits, "about": o.about} for o in outcomes
    ]
    facts = [{"name": fact.name, "found": fact.found} for fact in machine]
    return {"kind": KIND, "version": __version__, **found.document, "trials": trials, "machine": facts}


def read_report(path: Path) -> Report:
    """Read a report.

    Raises:
        InputError: it cannot be read, or is none.
    """
    data = read_file(path, RECORD_BYTES, "report", InputError)
    try:
        document = parse_json(data)
        found = Record.of(document)
    except (ValueError, InputError) as error:
        raise InputError(f"{path}: no report of `rocketnpu selftest --rules --report`: {error}") from None
    if document.get("kind") != KIND:
        raise InputError(f"{path}: a board's own record; `rocketnpu selftest --rules --report` writes what to send")
    return Report(path, found, str(document.get("version", "")))


def side_by_side(reports: Sequence[Report], known: Mapping[str, object]) -> list[tuple[str, ...]]:
    """Return a row for each rule that a report names: its name, then what each board said."""
    names = [*known, *sorted({name for found in reports for name in found.record.findings} - set(known))]
    rows = []
    for name in names:
        said = [found.record.findings.get(name) for found in reports]
        if any(said):
            rows.append((name, *("" if one is None else _cell(one.result.value, one.fits) for one in said)))
    return rows


def _cell(result: str, fits: str) -> str:
    return f"{result}: {fits}" if fits else result
