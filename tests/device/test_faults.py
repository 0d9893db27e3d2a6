"""What goes wrong around a device: a clear error or a right answer, nothing leaked, and the next inference works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from device_cases import CASES
from rocketnpu.cli.device.selftest import expected
from rocketnpu.device.calls import SystemCalls
from rocketnpu.device.executor import PlacedProgram, run
from rocketnpu.emulator import EmulatedNode, Limits, shim_library
from rocketnpu.errors import DeviceError, DeviceTimeoutError
from rocketnpu.rockchip.drivers.emulated_core import SimulatedCore
from rocketnpu.rockchip.drivers.rocket import RocketDevice

SLOW_SERVER = """
    import sys, time
    from rocketnpu.emulator import EmulatedNode
    from rocketnpu.rockchip.drivers.emulated_core import SimulatedCore

    class Slow(SimulatedCore):
        def run(self, address, words):
            print("running", flush=True)
            time.sleep(60)

    node = EmulatedNode([Slow()])
    print(node.path, flush=True)
    sys.stdin.read()
"""


def python(code: str, **settings) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        text=True,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        **settings,
    )


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def answers_rightly(device: RocketDevice) -> None:
    case = CASES["chain"]
    np.testing.assert_array_equal(run(device, case.program(), [case.picture()])[0], expected(case))


def test_the_emulator_is_killed_in_the_middle_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, before = SystemCalls(str(shim_library())), descriptors()
    with tempfile.TemporaryDirectory() as folder, python(SLOW_SERVER, env=dict(os.environ, TMPDIR=folder)) as server:
        monkeypatch.setenv("ROCKETNPU_NODE_SOCKET", server.stdout.readline().strip())
        case = CASES["chain"]
        device = RocketDevice(calls=calls)
        placed = PlacedProgram(device, case.program())
        device.submit(placed.jobs)
        assert server.stdout.readline() == "running\n"
        waiter = threading.Timer(0.1, server.kill)
        waiter.start()
        with pytest.raises(DeviceError, match="the device is gone"):
            device.sync_for_cpu(placed.buffers[-1], 30)
        waiter.join()
        with pytest.raises(DeviceError, match="the device is gone"):
            placed.run([case.picture()])
        device.close()
    del placed
    assert descriptors() == before
    with EmulatedNode() as node:
        monkeypatch.setenv("ROCKETNPU_NODE_SOCKET", str(node.path))
        with RocketDevice(calls=calls) as device:
            answers_rightly(device)


def test_the_node_is_unplugged(node) -> None:
    case = CASES["chain"]
    device = RocketDevice(calls=node.calls)
    placed = PlacedProgram(device, case.program())
    placed.run([case.picture()])
    node.node.stop()
    with pytest.raises(DeviceError, match="the device is gone"):
        placed.run([case.picture()])
    device.close()
    with pytest.raises(DeviceError, match="no NPU with the driver 'rocket'"):
        RocketDevice(calls=node.calls)


def test_a_wait_that_ends_too_early_and_then_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    class Gated(SimulatedCore):
        def run(self, address: int, words: int) -> None:
            gate.wait(10)
            super().run(address, words)

    case = CASES["chain"]
    with EmulatedNode([Gated()]) as node:
        monkeypatch.setenv("ROCKETNPU_NODE_SOCKET", str(node.path))
        with (
            RocketDevice(calls=SystemCalls(str(shim_library()))) as device,
            PlacedProgram(device, case.program()) as placed,
        ):
            device.submit(placed.jobs)
            with pytest.raises(DeviceTimeoutError, match="did not finish in time"):
                device.sync_for_cpu(placed.buffers[-1], 0.02)
            gate.set()
            device.sync_for_cpu(placed.buffers[-1], 10)
            np.testing.assert_array_equal(placed.run([case.picture()])[0], expected(case))


def test_signals_interrupt_a_wait_and_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(SimulatedCore):
        def run(self, address: int, words: int) -> None:
            time.sleep(0.05)
            super().run(address, words)

    seen: list[int] = []
    interrupted: list[int] = []

    class Counting(SystemCalls):
        def ioctl(self, fd, request, argument) -> None:
            try:
                super().ioctl(fd, request, argument)
            except InterruptedError:
                interrupted.append(request)
                raise

    old = signal.signal(signal.SIGALRM, lambda number, _frame: seen.append(number))
    case = CASES["chain"]
    try:
        with EmulatedNode([Slow()]) as node:
            monkeypatch.setenv("ROCKETNPU_NODE_SOCKET", str(node.path))
            with (
                RocketDevice(calls=Counting(str(shim_library()))) as device,
                PlacedProgram(device, case.program()) as placed,
            ):
                signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
                answer = placed.run([case.picture()])[0]
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    np.testing.assert_array_equal(answer, expected(case))
    assert len(seen) > 5
    assert interrupted


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"memory": 1 << 20}, "no memory left"), ({"address_space": 1 << 20}, "4 GiB of addresses")],
)
def test_memory_and_addresses_run_out(start_node, limits: dict[str, int], reason: str) -> None:
    node = start_node(**limits)
    large, small = CASES["tiled"], CASES["pointwise"]
    large_program = large.program()
    with RocketDevice(calls=node.calls) as device:
        before = node.node.live_buffers
        hoard = device.allocate(512 << 10)
        for _ in range(3):
            with pytest.raises(DeviceError, match=reason):
                PlacedProgram(device, large_program)
        assert node.node.live_buffers == before + 1
        np.testing.assert_array_equal(run(device, small.program(), [small.picture()])[0], expected(small))
        device.free(hoard)
        np.testing.assert_array_equal(run(device, large_program, [large.picture()])[0], expected(large))
        assert node.node.live_buffers == before


def test_two_processes_at_once(node) -> None:
    environment = node.node.environment(shim_library())
    command = [sys.executable, "-m", "rocketnpu.cli.main", "selftest", "--device", "rocket", "--json"]
    programs = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [program.communicate(timeout=120)[0] for program in programs]
    assert [program.returncode for program in programs] == [0, 0], outputs
    assert all('"equal": true' in output and '"equal": false' not in output for output in outputs)
    assert node.lines == []


FORK = """
    import os
    import numpy as np
    from rocketnpu.device.discover import open_device
    from rocketnpu.device.executor import PlacedProgram, run
    from rocketnpu.cli.device.selftest import cases, expected
    from rocketnpu.errors import DeviceError

    case = cases()[-1]
    program, picture, wanted = case.program(), case.picture(), expected(case)
    device = open_device("rocket")
    placed = PlacedProgram(device, program)
    assert (placed.run([picture])[0] == wanted).all()
    child = os.fork()
    if not child:
        try:
            placed.run([picture])
        except DeviceError as error:
            assert "fork" in str(error), error
        else:
            os._exit(3)
        device.close()
        with open_device("rocket") as own:
            os._exit(0 if (run(own, program, [picture])[0] == wanted).all() else 4)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, status
    assert (placed.run([picture])[0] == wanted).all()
    placed.close()
    device.close()
    print("right", flush=True)
"""


def test_a_fork(node) -> None:
    with python(FORK, env=node.node.environment(shim_library()), stderr=subprocess.PIPE) as program:
        output, errors = program.communicate(timeout=120)
    assert output == "right\n", errors
    assert node.lines == []


def test_a_program_that_is_killed_leaves_nothing(node) -> None:
    code = """
        from rocketnpu.device.discover import open_device
        device = open_device("rocket")
        device.allocate(1 << 20)
        print("ready", flush=True)
        input()
    """
    with python(code, env=node.node.environment(shim_library())) as program:
        assert program.stdout.readline() == "ready\n"
        assert node.node.live_buffers == 2
        program.kill()
    end = time.monotonic() + 5
    while node.node.open_files and time.monotonic() < end:
        time.sleep(0.01)
    assert node.node.open_files == node.node.live_buffers == 0
    with RocketDevice(calls=node.calls) as device:
        answers_rightly(device)


def test_an_exec_keeps_no_device_open(node) -> None:
    """The descriptor is close-on-exec, as every library's should be."""
    with RocketDevice(calls=node.calls) as device:
        listing = subprocess.run(
            ["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False, check=True
        )
        inode = os.fstat(device._fd).st_ino
    assert f"socket:[{inode}]" not in listing.stdout


def test_a_timeout_in_the_limits_of_the_emulated_machine() -> None:
    assert Limits().job_timeout == 0.5
