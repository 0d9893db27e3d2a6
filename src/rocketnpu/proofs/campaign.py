"""All trials of a chip, one after another: what may be run, what rests on what, and a journal of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from rocketnpu.evidence import EvidenceTable
from rocketnpu.policy import Target
from rocketnpu.proofs.journal import Journal
from rocketnpu.proofs.trial import Hazard, Outcome, Result, Trial

Execute = Callable[[Trial], Outcome]
Tell = Callable[[Outcome], None]


def run_trials(
    trials: Sequence[Trial],
    execute: Execute,
    *,
    table: EvidenceTable,
    target: Target,
    risky: bool,
    journal: Journal | None = None,
    tell: Tell = lambda _outcome: None,
) -> list[Outcome]:
    """Run trials in their order.

    Args:
        trials: from harmless to what may hang.
        execute: runs one and judges it; it never raises for what a board does.
        table: the chip's rules.
        target: whose driver runs them.
        risky: whether those may run that can hang a board; file systems are synced before each.
        journal: where each step is written before it is taken; trials that it has an outcome of do not run again.
        tell: hears of each outcome as soon as it is known.
    """
    outcomes: list[Outcome] = []
    for trial in trials:
        known = journal.done.get(trial.key) if journal is not None else None
        reason = _reason(trial, outcomes, table, target, risky)
        if known is not None:
            outcome = known
        elif reason:
            outcome = Outcome(trial.rule, trial.name, Result.NOT_RUN, about=reason)
        else:
            outcome = _run(trial, execute, journal)
        outcomes.append(outcome)
        tell(outcome)
    return outcomes


def _run(trial: Trial, execute: Execute, journal: Journal | None) -> Outcome:
    if journal is not None:
        journal.begin(trial)
    if trial.hazard is Hazard.MAY_HANG:
        os.sync()
    outcome = execute(trial)
    if journal is not None:
        journal.end(outcome)
    return outcome


def _reason(trial: Trial, outcomes: Sequence[Outcome], table: EvidenceTable, target: Target, risky: bool) -> str:
    """Say why a trial is not run, or return an empty text."""
    if target not in trial.targets:
        return "its tasks never end under this driver"
    if trial.hazard is Hazard.MAY_HANG and target != "simulator" and not risky:
        return "it may hang the board: only with --risky"
    for rule in trial.needs:
        asked = [outcome.result for outcome in outcomes if outcome.rule == rule]
        known = rule in table.rules and table.rules[rule].is_proven_for(target)
        if any(result is not Result.PROVEN for result in asked) or not (asked or known):
            return f"it rests on {rule}, which is not proven here"
    return ""
