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

from device_cases import CASES, program_for
from device_fixtures import Node
from kernel_kinds import KINDS, TESTS, Delayed, Kind, answers_rightly
from rocketnpu.cli.device.selftest import expected
from rocketnpu.device.calls import SystemCalls
from rocketnpu.device.executor import PlacedProgram, run
from rocketnpu.emulator import EmulatedNode, Limits, driver_of, shim_library
from rocketnpu.errors import DeviceError, DeviceTimeoutError

SLOW_SERVER = """
    import sys, time
    from kernel_kinds import Delayed
    from rocketnpu.emulator import EmulatedNode, driver_of

    def before():
        print("running", flush=True)
        time.sleep(60)

    chip = sys.argv[1]
    node = EmulatedNode([Delayed(chip, before)], driver=driver_of(chip))
    print(node.path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def started(kind: Kind, start_node) -> Node:
    """The kind's node."""
    return start_node(kind.chip)


def python(code: str, *arguments: str, **settings) -> subprocess.Popen:
    settings["env"] = {**settings.get("env", os.environ), "PYTHONPATH": str(TESTS)}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        text=True,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        **settings,
    )


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def meet(node: EmulatedNode, monkeypatch: pytest.MonkeyPatch) -> SystemCalls:
    """Make this process meet a node; return its calls."""
    for name, value in node.variables().items():
        monkeypatch.setenv(name, value)
    return SystemCalls(str(shim_library()))


def test_the_emulator_is_killed_in_the_middle_of_a_job(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    before, driver = descriptors(), driver_of(kind.chip)
    monkeypatch.setenv("ROCKETNPU_NODE_DRIVER", driver.name)
    monkeypatch.setenv("ROCKETNPU_NODE_PATH", driver.node)
    calls = SystemCalls(str(shim_library()))
    with (
        tempfile.TemporaryDirectory() as folder,
        python(SLOW_SERVER, kind.chip, env=dict(os.environ, TMPDIR=folder)) as server,
    ):
        monkeypatch.setenv("ROCKETNPU_NODE_SOCKET", server.stdout.readline().strip())
        case = CASES["chain"]
        device = kind.open(calls)
        placed = PlacedProgram(device, program_for(case, device))
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
    with EmulatedNode(driver=driver) as node, kind.open(meet(node, monkeypatch)) as device:
        answers_rightly(device)


def test_the_node_is_unplugged(kind: Kind, started: Node) -> None:
    case = CASES["chain"]
    device = kind.open(started.calls)
    placed = PlacedProgram(device, program_for(case, device))
    placed.run([case.picture()])
    started.node.stop()
    with pytest.raises(DeviceError, match="the device is gone"):
        placed.run([case.picture()])
    device.close()
    with pytest.raises(DeviceError, match=f"no NPU with the driver '{kind.name}'"):
        kind.open(started.calls)


def test_a_wait_that_ends_too_early_and_then_succeeds(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    case = CASES["chain"]
    core = Delayed(kind.chip, lambda: gate.wait(10))
    with (
        EmulatedNode([core], driver=driver_of(kind.chip)) as node,
        kind.open(meet(node, monkeypatch)) as device,
        PlacedProgram(device, program_for(case, device)) as placed,
    ):
        device.submit(placed.jobs)
        with pytest.raises(DeviceTimeoutError, match="did not finish in time"):
            device.sync_for_cpu(placed.buffers[-1], 0.02)
        gate.set()
        device.sync_for_cpu(placed.buffers[-1], 10)
        np.testing.assert_array_equal(placed.run([case.picture()])[0], expected(case, kind.chip))


def test_signals_interrupt_a_wait_and_do_no_harm(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
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
        core = Delayed(kind.chip, lambda: time.sleep(0.05))
        with EmulatedNode([core], driver=driver_of(kind.chip)) as node:
            meet(node, monkeypatch)
            with (
                kind.open(Counting(str(shim_library()))) as device,
                PlacedProgram(device, program_for(case, device)) as placed,
            ):
                signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
                answer = placed.run([case.picture()])[0]
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    np.testing.assert_array_equal(answer, expected(case, kind.chip))
    assert len(seen) > 5
    assert interrupted


@pytest.mark.parametrize(
    ("kind", "limits", "reason"),
    [
        *((kind, {"memory": 1 << 20}, "no memory left") for kind in KINDS),
        (KINDS[0], {"address_space": 1 << 20}, "4 GiB of addresses"),
    ],
    ids=str,
)
def test_memory_and_addresses_run_out(start_node, kind: Kind, limits: dict[str, int], reason: str) -> None:
    """A driver whose user chooses addresses is asked for none."""
    node = start_node(kind.chip, **limits)
    large, small = CASES["tiled"], CASES["pointwise"]
    with kind.open(node.calls) as device:
        large_program = program_for(large, device)
        before = node.node.live_buffers
        hoard = device.allocate(512 << 10)
        for _ in range(3):
            with pytest.raises(DeviceError, match=reason):
                PlacedProgram(device, large_program)
        assert node.node.live_buffers == before + 1
        found = run(device, program_for(small, device), [small.picture()])[0]
        np.testing.assert_array_equal(found, expected(small, kind.chip))
        device.free(hoard)
        found = run(device, large_program, [large.picture()])[0]
        np.testing.assert_array_equal(found, expected(large, kind.chip))
        assert node.node.live_buffers == before


def test_two_processes_at_once(kind: Kind, started: Node) -> None:
    environment = started.node.environment(shim_library())
    command = [sys.executable, "-m", "rocketnpu.cli.main", "selftest", "--device", kind.name, "--json"]
    programs = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [program.communicate(timeout=120)[0] for program in programs]
    assert [program.returncode for program in programs] == [0, 0], outputs
    assert all('"equal": true' in output and '"equal": false' not in output for output in outputs)
    assert started.lines == []


FORK = """
    import os, sys
    import numpy as np
    from device_cases import program_for
    from rocketnpu.device.discover import open_device
    from rocketnpu.device.executor import PlacedProgram, run
    from rocketnpu.cli.device.selftest import cases, expected
    from rocketnpu.errors import DeviceError

    case = cases()[-1]
    device = open_device(sys.argv[1])
    program, picture, wanted = program_for(case, device), case.picture(), expected(case, device.chip)
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
        with open_device(sys.argv[1]) as own:
            os._exit(0 if (run(own, program, [picture])[0] == wanted).all() else 4)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, status
    assert (placed.run([picture])[0] == wanted).all()
    placed.close()
    device.close()
    print("right", flush=True)
"""


def test_a_fork(kind: Kind, started: Node) -> None:
    environment = started.node.environment(shim_library())
    with python(FORK, kind.name, env=environment, stderr=subprocess.PIPE) as program:
        output, errors = program.communicate(timeout=120)
    assert output == "right\n", errors
    assert started.lines == []


def test_a_program_that_is_killed_leaves_nothing(kind: Kind, started: Node) -> None:
    code = """
        import sys
        from rocketnpu.device.discover import open_device
        device = open_device(sys.argv[1])
        device.allocate(1 << 20)
        print("ready", flush=True)
        input()
    """
    with python(code, kind.name, env=started.node.environment(shim_library())) as program:
        assert program.stdout.readline() == "ready\n"
        assert started.node.live_buffers == (2 if kind.name == "rocket" else 1)
        program.kill()
    end = time.monotonic() + 5
    while started.node.open_files and time.monotonic() < end:
        time.sleep(0.01)
    assert started.node.open_files == started.node.live_buffers == 0
    with kind.open(started.calls) as device:
        answers_rightly(device)


def test_an_exec_keeps_no_device_open(kind: Kind, started: Node) -> None:
    """The descriptor is close-on-exec, as every library's should be."""
    with kind.open(started.calls) as device:
        listing = subprocess.run(
            ["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False, check=True
        )
        inode = os.fstat(device._fd).st_ino
    assert f"socket:[{inode}]" not in listing.stdout


def test_a_timeout_in_the_limits_of_the_emulated_machine() -> None:
    assert Limits().job_timeout == 0.5
