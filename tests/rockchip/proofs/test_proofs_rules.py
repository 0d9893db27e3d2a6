"""Rules asked of simulators: of the right one, and of others that differ in exactly one way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mutations import MUTATIONS, apply

from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import SimulationError
from rocketnpu.proofs.campaign import run_trials
from rocketnpu.proofs.run import run_trial
from rocketnpu.proofs.trial import NONE_FITS, RULE, Hazard, Outcome, Result, Trial, judge, summary
from rocketnpu.rockchip.evidence import TABLE
from rocketnpu.rockchip.proofs.trials import NOT_ASKED, trials
from rocketnpu.rockchip.simulator import npu
from rocketnpu.rockchip.simulator import registers as files
from rocketnpu.rockchip.soc import RK3588

TRIALS = trials(RK3588)


@pytest.fixture(autouse=True)
def fresh_registers() -> Iterator[None]:
    """No test leaves what a changed simulator has read to the next."""
    yield
    files.registers.cache_clear()


def execute(trial: Trial) -> Outcome:
    with SimulatorDevice() as device:
        return judge(trial, run_trial(device, trial))


def ask() -> list[Outcome]:
    return run_trials(TRIALS, execute, table=TABLE, target="simulator", risky=True)


def test_every_rule_is_proven_on_the_simulator() -> None:
    outcomes = ask()
    assert {outcome.result for outcome in outcomes} == {Result.PROVEN}
    assert len(outcomes) == len(TRIALS)


def test_every_rule_without_proof_is_asked_or_says_why_not() -> None:
    asked = {trial.rule for trial in TRIALS}
    unproven = {rule.name for rule in TABLE.rules.values() if not rule.is_proven}
    assert not asked & set(NOT_ASKED)
    assert unproven <= asked | set(NOT_ASKED)
    assert asked | set(NOT_ASKED) <= set(TABLE.rules)
    assert asked - unproven == {"lut-interpolation"}


def test_answers_differ_and_hazards_rise() -> None:
    for trial in TRIALS:
        assert next(iter(trial.answers)) == RULE
        assert len(set(trial.answers.values())) == len(trial.answers) >= 2, trial.key
    hazards = [trial.hazard for trial in TRIALS]
    assert hazards == sorted(hazards)
    assert len({trial.key for trial in TRIALS}) == len(TRIALS)


def test_every_alternative_has_a_mutation() -> None:
    named = {(trial.rule, name) for trial in TRIALS for name in trial.answers if name != RULE}
    assert named == set(MUTATIONS)
    assert len(named) >= 60


@pytest.mark.parametrize(("rule", "alternative"), MUTATIONS)
def test_every_mutation_is_attributed_to_its_rule(rule: str, alternative: str, monkeypatch) -> None:
    apply(monkeypatch, rule, alternative)
    outcomes = ask()
    assert {outcome.rule for outcome in outcomes if outcome.result is Result.REFUTED} == {rule}
    assert alternative in {outcome.fits for outcome in outcomes if outcome.rule == rule}
    assert summary(outcomes)[rule].result is Result.REFUTED
    for outcome in outcomes:
        if outcome.rule != rule:
            assert outcome.result is Result.PROVEN or outcome.about.startswith("it rests on"), outcome


def test_an_output_that_nobody_named() -> None:
    trial = TRIALS[0]
    wrong = bytes(byte ^ 1 for byte in trial.answers[RULE])
    outcome = judge(trial, wrong)
    assert (outcome.result, outcome.fits) == (Result.REFUTED, NONE_FITS)
    assert "2048 of 2048 bytes differ, the first at 0" in outcome.about


def test_what_hangs_is_no_answer(monkeypatch) -> None:
    """A flying task that never ends: what rests on it is not judged, and nothing else is touched."""

    def hang(units: object, context: object) -> int:
        raise SimulationError("it never ends", unit="DPU", register="OPERATION_ENABLE")

    monkeypatch.setitem(npu._KINDS, frozenset({"DPU", "DPU_RDMA"}), hang)

    def careful(trial: Trial) -> Outcome:
        try:
            return execute(trial)
        except SimulationError as error:
            return Outcome(trial.rule, trial.name, Result.HANGS, about=str(error))

    found = summary(run_trials(TRIALS, careful, table=TABLE, target="simulator", risky=True))
    assert {rule for rule, outcome in found.items() if outcome.result is Result.HANGS} == {"flying-start"}
    resting = {trial.rule for trial in TRIALS if "flying-start" in trial.needs}
    assert {rule for rule, outcome in found.items() if outcome.result is Result.NOT_RUN} == resting


@pytest.mark.parametrize(("target", "risky"), [("mainline", False), ("mainline", True), ("vendor", False)])
def test_what_is_run_where(target: str, risky: bool) -> None:
    outcomes = run_trials(TRIALS, execute, table=TABLE, target=target, risky=risky)
    left = {outcome.rule for outcome in outcomes if outcome.result is Result.NOT_RUN}
    hanging = {trial.rule for trial in TRIALS if trial.hazard is Hazard.MAY_HANG}
    pooling = {"byte-pooling-unit", "pooling-average"} if target == "mainline" else set()
    assert left == pooling | (set() if risky else hanging)
