"""``rocketnpu selftest --rules``: ask the board for the hardware rules that nobody has proven."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rocketnpu.cli.output import echo, echo_text, print_json, print_table
from rocketnpu.device.discover import open_device
from rocketnpu.device.doctor import examine
from rocketnpu.errors import UnsupportedError
from rocketnpu.family import Family, family_of
from rocketnpu.policy import Target
from rocketnpu.proofs.campaign import run_trials
from rocketnpu.proofs.child import execute_in_child
from rocketnpu.proofs.identity import Identity, identify
from rocketnpu.proofs.journal import Journal
from rocketnpu.proofs.record import load, path_of, save, today
from rocketnpu.proofs.report import report
from rocketnpu.proofs.trial import Outcome, Result, Trial, summary

RISK = """Some of the programs that follow start tasks in an order that hung other people's boards until their power was
cut. File systems are synced before each, and a journal says which one runs; after a power cycle the same command goes
on behind it and counts it as "hangs here". Save your work now."""


def ask_board(name: str, *, risky: bool, limit: float, as_json: bool) -> tuple[dict[str, Any], bool]:
    """Run all trials on a device, keep what its board answered, and print it.

    Returns:
        The report, and whether nothing was refuted and nothing hung.

    Raises:
        DeviceError: there is no such device, or a file cannot be written.
        UnsupportedError: there are no trials for its chip.
    """
    with open_device(name) as device:
        identity, name, family = identify(device), device.name, family_of(device.chip)
        target = family.target_of(name)
    trials = family.trials()
    if not trials:
        raise UnsupportedError(f"no programs ask the {family.title} for its rules yet; `rocketnpu evidence` lists them")
    if risky and identity is not None and not as_json:
        echo_text(f"{RISK}\n", err=True)
    outcomes = _run(trials, name, family, target, identity, risky=risky, limit=limit, as_json=as_json)
    found = summary(outcomes)
    if identity is not None:
        place = save(load(identity).with_outcomes(found, today()))
        if not as_json:
            echo(f"record of this board: {place}", err=True)
    document = report(identity, outcomes, today(), examine())
    if as_json:
        print_json(document)
    else:
        _print(found, family, outcomes)
    return document, not any(one.result in (Result.REFUTED, Result.HANGS) for one in found.values())


def _run(
    trials: Sequence[Trial],
    name: str,
    family: Family,
    target: Target,
    identity: Identity | None,
    *,
    risky: bool,
    limit: float,
    as_json: bool,
) -> list[Outcome]:
    # Nothing hangs where there is no board, so the simulator needs no journal.
    journal = None if identity is None else Journal.open(_journal_path(identity), identity)
    if journal is not None and journal.done and not as_json:
        echo(f"going on behind {len(journal.done)} programs of an earlier call", err=True)
    outcomes = run_trials(
        trials,
        lambda trial: execute_in_child(trial, name, family.name, limit),
        table=family.evidence,
        target=target,
        risky=risky,
        journal=journal,
        tell=lambda outcome: None if as_json else echo(_line(outcome)),
    )
    if journal is not None:
        journal.finish()
    return outcomes


def _journal_path(identity: Identity) -> Path:
    return path_of(identity).with_suffix(".journal")


def _line(outcome: Outcome) -> str:
    told = ": ".join(part for part in (outcome.fits, outcome.about) if part)
    return f"{outcome.result.value:8} {outcome.rule}, {outcome.trial}{f'  ({told})' if told else ''}"


def _print(found: dict[str, Outcome], family: Family, outcomes: Sequence[Outcome]) -> None:
    rows = [(rule, one.result.value, one.fits or one.about) for rule, one in found.items()]
    rows += [(rule, "not asked", reason) for rule, reason in family.not_asked.items()]
    echo()
    print_table(("rule", "result", "what holds instead, or why not"), rows)
    counts = Counter(one.result.value for one in found.values())
    told = ", ".join(f"{count} {result}" for result, count in counts.items())
    echo(f"{len(found)} rules in {len(outcomes)} programs: {told}")
