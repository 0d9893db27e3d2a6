"""What keeps the rocket driver's own fault from striking: a rest before a close, a guard behind a kill, order."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from device_cases import CASES
from rocketnpu.device.executor import run
from rocketnpu.emulator import EmulatedNode, shim_library
from rocketnpu.rockchip.drivers import guard, rocket
from rocketnpu.rockchip.drivers.rocket import RocketDevice

PATIENCE = 20.0
OPENS = """
import sys, time
from rocketnpu.rockchip.drivers.rocket import RocketDevice
with RocketDevice():
    print("open", flush=True)
    time.sleep(float(sys.argv[1]))
"""


@pytest.fixture
def board() -> Iterator[EmulatedNode]:
    node = EmulatedNode()
    yield node
    node.stop()


def wait_for(condition: Callable[[], bool]) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < PATIENCE
        time.sleep(0.01)
    return time.monotonic() - start


def opener(board: EmulatedNode, seconds: float, **variables: str) -> subprocess.Popen:
    environment = board.environment(shim_library()) | variables
    command = [sys.executable, "-c", OPENS, str(seconds)]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "open\n"
    return child


@pytest.mark.parametrize(("asked", "lingers"), [("on", True), ("off", False)])
def test_a_guard_keeps_the_node_open_behind_a_kill(board: EmulatedNode, asked: str, lingers: bool) -> None:
    child = opener(board, 60, ROCKETNPU_GUARD=asked)
    assert board.open_files == 1
    child.kill()
    child.communicate()
    stayed = wait_for(lambda: board.open_files == 0)
    assert (stayed > guard.LINGER / 2) == lingers


def test_a_guard_goes_with_an_orderly_close(board: EmulatedNode) -> None:
    child = opener(board, 0, ROCKETNPU_GUARD="on")
    child.communicate()
    assert child.returncode == 0
    assert wait_for(lambda: board.open_files == 0) < guard.LINGER / 2


def test_who_has_a_guard(node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real nodes, unless it is off; neither emulated ones nor those of tests."""
    monkeypatch.delenv(guard.VARIABLE, raising=False)
    with RocketDevice(calls=node.calls) as device:
        assert device._guard is None
    monkeypatch.delenv("ROCKETNPU_NODE_SOCKET")
    assert guard.is_wanted(node.calls)
    assert not guard.is_wanted(object())
    monkeypatch.setenv(guard.VARIABLE, "off")
    assert not guard.is_wanted(node.calls)


def test_without_a_shell_it_works_without_a_guard(node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(guard.VARIABLE, "on")

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(12, "no memory")

    monkeypatch.setattr(guard.subprocess, "Popen", fail)
    with RocketDevice(calls=node.calls) as device:
        assert device._guard is None


def test_a_close_rests_behind_the_last_job(node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel releases a job's buffers after it has told its end."""
    rests: list[float] = []
    monkeypatch.setattr(rocket.time, "sleep", rests.append)
    with RocketDevice(calls=node.calls):
        pass
    assert rests == []
    with RocketDevice(calls=node.calls) as device:
        run(device, CASES["pointwise"].program(), [CASES["pointwise"].picture()])
    assert rests == [rocket._REST]
    assert rocket._REST >= 0.005


def test_sigterm_ends_a_command_in_order(board: EmulatedNode) -> None:
    environment = board.environment(shim_library())
    command = [sys.executable, "-m", "rocketnpu", "selftest", "-d", "rocket"]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "pointwise" in child.stdout.readline()
    child.send_signal(signal.SIGTERM)
    _, errors = child.communicate(timeout=PATIENCE)
    assert child.returncode == 128 + signal.SIGTERM
    assert errors == ""
    assert wait_for(lambda: board.open_files == 0) < PATIENCE


def test_the_library_leaves_signals_alone(node) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    with RocketDevice(calls=node.calls) as device:
        run(device, CASES["pointwise"].program(), [CASES["pointwise"].picture()])
        assert {number: signal.getsignal(number) for number in before} == before
