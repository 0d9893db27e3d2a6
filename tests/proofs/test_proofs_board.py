"""Rules asked of an emulated board in child processes: journal, hangs, records, and the policy that follows."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rocketnpu.cli import main
from rocketnpu.compiler import compile_graph
from rocketnpu.device import discover, kernel
from rocketnpu.device.calls import SystemCalls
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.device.standing import policy_of
from rocketnpu.emulator import EmulatedNode, shim_library
from rocketnpu.emulator.drm_file import Limits
from rocketnpu.errors import DeviceError, DeviceTimeoutError, InputError, SimulationError
from rocketnpu.partition.plan import plan
from rocketnpu.proofs import record
from rocketnpu.proofs.campaign import run_trials
from rocketnpu.proofs.child import execute_in_child
from rocketnpu.proofs.identity import EMULATED, Identity, identify
from rocketnpu.proofs.journal import INTERRUPTED, Journal
from rocketnpu.proofs.record import Finding, Record, know
from rocketnpu.proofs.report import read_report
from rocketnpu.proofs.run import run_trial
from rocketnpu.proofs.trial import Outcome, Result, Trial, judge
from rocketnpu.rockchip.drivers.rocket import RocketDevice
from rocketnpu.rockchip.evidence import TABLE, Unproven
from rocketnpu.rockchip.proofs.trials import trials
from rocketnpu.rockchip.simulator import npu
from rocketnpu.rockchip.soc import RK3588
from strategies import case

BOARD = Identity("rk3588", "rocket", "0.0.0", "6.18.0", "board")
FEW = [trial for trial in trials(RK3588) if trial.rule in ("offset-ties", "dilation", "flying-start")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROCKETNPU_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config" / "boards"


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedNode]:
    """An emulated node that child processes meet as well."""
    node, library = EmulatedNode(limits=Limits(job_timeout=0.05)), shim_library()
    for name, value in node.environment(library, {}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(kernel, "SystemCalls", lambda: SystemCalls(str(library)))
    yield node
    node.stop()


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chip with a few trials only, for each takes a process."""
    family = type(discover.family_of("rk3588"))
    monkeypatch.setattr(family, "trials", lambda _self: tuple(FEW))


def hang(units: object, context: object) -> int:
    raise SimulationError("it never ends", unit="DPU", register="OPERATION_ENABLE")


def test_a_child_runs_one_trial(board: EmulatedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    ties = FEW[0]
    assert execute_in_child(ties, "rocket", "rk3588") == Outcome("offset-ties", ties.name, Result.PROVEN)
    flying = FEW[-1]
    assert execute_in_child(flying, "rocket", "rk3588").result is Result.PROVEN
    monkeypatch.setitem(npu._KINDS, frozenset({"DPU", "DPU_RDMA"}), hang)
    outcome = execute_in_child(flying, "rocket", "rk3588")
    assert outcome.result is Result.HANGS
    assert "did not run to its end" in outcome.about


def test_a_child_that_never_comes_back_is_killed(board: EmulatedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setitem(npu._KINDS, frozenset({"DPU", "DPU_RDMA"}), lambda *_: over.wait(60) and 0)
    outcome = execute_in_child(FEW[-1], "rocket", "rk3588", limit=4)
    over.set()
    assert (outcome.result, outcome.about) == (Result.HANGS, "nothing came back within 4 s")


def test_a_child_without_a_device_is_no_answer() -> None:
    outcome = execute_in_child(FEW[0], "rocket", "rk3588")
    assert outcome.result is Result.NOT_RUN
    assert "no NPU with the driver 'rocket'" in outcome.about


def run_journal(path: Path, execute) -> list[Outcome]:
    journal = Journal.open(path, BOARD)
    return run_trials(FEW, execute, table=TABLE, target="mainline", risky=True, journal=journal)


def test_after_a_power_cut_the_next_call_goes_on_behind(tmp_path: Path) -> None:
    path, ran = tmp_path / "journal", []

    class PowerCutError(Exception):
        pass

    def execute(trial: Trial) -> Outcome:
        ran.append(trial.key)
        steps = [json.loads(line) for line in path.read_text().splitlines()]
        assert steps[-1] == {"begin": trial.key, "rule": trial.rule, "trial": trial.name}
        if trial.rule == "dilation" and len(ran) == 2:
            raise PowerCutError
        return Outcome(trial.rule, trial.name, Result.PROVEN)

    with pytest.raises(PowerCutError):
        run_journal(path, execute)
    outcomes = run_journal(path, execute)
    assert ran == [trial.key for trial in FEW], "nothing ran twice"
    found = {outcome.trial: outcome for outcome in outcomes}
    assert found[FEW[1].name] == Outcome("dilation", FEW[1].name, Result.HANGS, about=INTERRUPTED)
    assert [outcome.result for outcome in outcomes].count(Result.PROVEN) == len(FEW) - 1
    assert run_journal(path, execute) == outcomes, "a third call has nothing to do"
    assert len(ran) == len(FEW)
    Journal.open(path, BOARD).finish()
    run_journal(path, lambda trial: Outcome(trial.rule, trial.name, Result.REFUTED, "none fits"))


@pytest.mark.parametrize("damage", [b"", b"{", b"[]\n", b'{"board": null}\n', b'{"board": 3}\n{"end": 4}\n', b"\xff\n"])
def test_a_damaged_or_foreign_journal_is_begun_anew(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(damage)
    assert Journal.open(path, BOARD).done == {}
    assert json.loads(path.read_text()) == {"board": BOARD.document}


def test_the_whole_verb_on_an_emulated_board(
    board: EmulatedNode, fewer: None, folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """First without risk, then with a flying task that hangs: survived, recorded, and never used afterwards."""
    sent = tmp_path / "report.json"
    assert main.run(["selftest", "--rules", "-d", "rocket", "--report", str(sent)]) == 0
    told = capsys.readouterr()
    assert "only with --risky" in told.out
    (path,) = folder.glob("*.json")
    assert path.name.startswith("emulated_rk3588_rocket_"), "an emulated node has a record of its own"
    assert not list(folder.glob("*.journal"))
    with discover.open_device("rocket") as device:
        assert set(policy_of(device).proven) == {"offset-ties", Unproven.DILATION}
    monkeypatch.setattr(npu, "_KINDS", {**npu._KINDS, frozenset({"DPU", "DPU_RDMA"}): hang})
    assert main.run(["selftest", "--rules", "--risky", "-d", "rocket"]) == 1
    told = capsys.readouterr()
    assert "power was cut" in " ".join(told.err.split())
    assert "hangs" in told.out
    with discover.open_device("rocket") as device:
        assert set(policy_of(device).refuted) == {Unproven.FLYING_START}
    report = read_report(sent)
    assert report.record.identity.kind == EMULATED
    assert report.record.findings[Unproven.DILATION].result is Result.PROVEN
    assert main.run(["evidence", "--import", str(sent), "--import", str(sent)]) == 0
    assert "proven" in capsys.readouterr().out
    assert main.run(["evidence", "dilation"]) == 0
    assert "proven on this board on 20" in capsys.readouterr().out
    with pytest.raises(InputError, match="a board's own record"):
        read_report(path)


def dilated():
    return next(
        found.graph
        for found in (case("conv", seed) for seed in range(200))
        if found.graph.operators[0].attributes.dilation != (1, 1)
    )


def proven(*rules: str) -> Record:
    return Record(BOARD, {rule: Finding(Result.PROVEN, "", "2026-01-02") for rule in rules})


def test_the_policy_takes_what_the_board_proved(board: EmulatedNode) -> None:
    """Before: dilations are spread into larger kernels. After: the chip's own. Refuted: never, whoever asks."""
    graph = dilated()
    with RocketDevice() as device:
        identity = identify(device)
        assert identity is not None
        before = policy_of(device)
        assert Unproven.DILATION not in compile_graph(graph, before).rules
        record.save(replace(proven(Unproven.DILATION), identity=identity))
        after = policy_of(know(device))
        program = compile_graph(graph, after)
        assert Unproven.DILATION in program.rules
        PlacedProgram(device, program).close()
        refuted = Record(identity, {Unproven.DILATION: Finding(Result.REFUTED, "ignored", "2026-01-03")})
        record.save(refuted)
        never = policy_of(know(device), allow_unproven=True)
        assert Unproven.DILATION not in compile_graph(graph, never).rules
        with pytest.raises(DeviceError, match="that this board refuted: dilation"):
            PlacedProgram(device, program, allow_unproven=True)
        assert device.standing.refuted == {Unproven.DILATION: "refuted on this board on 2026-01-03 (ignored)"}


def test_another_driver_version_or_kernel_starts_unproven(board: EmulatedNode, folder: Path) -> None:
    record.save(proven(Unproven.DILATION))
    assert record.load(BOARD).proven == {Unproven.DILATION}
    for other in ({"version": "1.0.0"}, {"kernel": "6.19.0"}, {"driver": "rknpu"}, {"kind": EMULATED}):
        assert record.load(replace(BOARD, **other)).findings == {}
    with RocketDevice() as device:
        assert identify(device) != BOARD
        assert know(device).standing.proven == {}
    # A record that was copied to another board's place is not that board's.
    other = replace(BOARD, kernel="6.20.0")
    record.path_of(other).write_bytes(record.path_of(BOARD).read_bytes())
    assert record.load(other).findings == {}


def test_what_was_not_run_stays_as_it_was() -> None:
    first = proven("dilation").with_outcomes({"dilation": Outcome("dilation", "x", Result.NOT_RUN)}, "2026-02-02")
    assert first.findings["dilation"].date == "2026-01-02"
    second = first.with_outcomes({"dilation": Outcome("dilation", "x", Result.REFUTED, "ignored")}, "2026-02-03")
    assert str(second.findings["dilation"]) == "refuted on this board on 2026-02-03 (ignored)"
    assert second.refuted == {"dilation"}


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"[1]", b'{"format": 2}', b'{"format": 1, "board": {}, "rules": {}}', b"\xff", b"[" * 99999]
)
def test_a_damaged_record_proves_nothing(damage: bytes) -> None:
    path = record.path_of(BOARD)
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    assert record.load(BOARD) == Record(BOARD)
    with pytest.raises(InputError, match=r"boards"):
        read_report(path)


def test_records_and_journals_lie_in_folders_of_the_users_alone(folder: Path) -> None:
    record.save(Record(BOARD))
    path = record.path_of(BOARD)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.parent.chmod(0o777)
    with pytest.raises(DeviceError, match="group or others may write to folder"):
        record.save(Record(BOARD))
    with pytest.raises(DeviceError, match="group or others may write to folder"):
        Journal.open(path.with_suffix(".journal"), BOARD)


def test_records_and_journals_that_are_no_files(folder: Path) -> None:
    path = record.path_of(BOARD)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert record.load(BOARD) == Record(BOARD)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert record.load(BOARD) == Record(BOARD)
    journal = path.with_suffix(".journal")
    os.mkfifo(journal)
    assert Journal.open(journal, BOARD).done == {}


def test_a_record_comes_back() -> None:
    found = proven("dilation", "lut-slopes")
    assert Record.of(json.loads(json.dumps(found.document))) == found


def test_the_simulator_has_no_record(folder: Path) -> None:
    with SimulatorDevice() as device:
        assert identify(device) is None
        assert judge(FEW[0], run_trial(device, FEW[0])).result is Result.PROVEN
    assert not folder.exists()


def test_a_job_that_is_dropped_is_no_answer(board: EmulatedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(npu._KINDS, frozenset({"DPU", "DPU_RDMA"}), hang)
    with RocketDevice() as device, pytest.raises(DeviceTimeoutError, match="did not run to its end"):
        run_trial(device, FEW[-1])


def test_plans_differ_only_by_what_was_proven() -> None:
    graph = dilated()
    policy = replace(policy_of(SimulatorDevice()), target="mainline", allow_unproven=False)
    more = replace(policy, proven=frozenset({Unproven.DILATION}))
    assert [plan(graph, one).coverage for one in (policy, more)] == [1.0, 1.0]
    outputs = []
    for one in (policy, more):
        with SimulatorDevice() as device:
            program = compile_graph(graph, one)
            inputs = [np.full(binding.shape, 3, binding.dtype.value) for binding in program.inputs]
            outputs.append(PlacedProgram(device, program).run(inputs)[0])
    np.testing.assert_array_equal(*outputs)
