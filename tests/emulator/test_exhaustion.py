"""Where the system has nothing left, or a program does not play along, the emulated node waits and goes on."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from raw_node import File, Rig

from rocketnpu.emulator import EmulatedNode, shim_library, wire
from rocketnpu.emulator.exhaustion import raise_own_limit
from rocketnpu.errors import DeviceError


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Open files until there is none left to open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - their numbers
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, before[1]))
    held: list[int] = []
    try:
        while True:
            try:
                held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError as error:
                assert error.errno == errno.EMFILE  # noqa: PT017
                break
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def in_a_process(rig: Rig, code: str) -> subprocess.Popen[str]:
    """Start a program that meets the node, in a process with descriptors of its own."""
    program = textwrap.dedent(code)
    environment = rig.node.environment(shim_library())
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_node_without_descriptors_waits_and_goes_on(rig: Rig) -> None:
    """Its process has none for half a second: programs that open the node, and make buffers, wait for it."""
    code = """
        import fcntl, os, struct, sys, time
        sys.stdin.read
        time.sleep(0.3)
        fd = os.open("/dev/accel/accel0", os.O_RDWR)
        made = fcntl.ioctl(fd, 0xC0186440, struct.pack("=IIQQ", 5000, 0, 0, 0))
        print(struct.unpack("=IIQQ", made)[1])
    """
    first, second = in_a_process(rig, code), in_a_process(rig, code)
    with no_descriptors_left():
        time.sleep(1.5)
    assert [first.communicate(timeout=30)[0], second.communicate(timeout=30)[0]] == ["1\n", "1\n"]
    again = File()
    assert again.create(100).handle == 1
    again.close()


def test_a_program_without_descriptors_is_told_so(file: File) -> None:
    """As the kernel would: no memory for what it needs itself, no descriptor for what it gives."""
    made = file.create(5000)
    with no_descriptors_left():
        assert file.mmap(made.offset, 5000) == errno.ENOMEM
        assert file.prep(made.handle) == errno.ENOMEM
    assert file.mmap(made.offset, 5000) == 0
    assert file.prep(made.handle) == 0


def test_the_node_raises_its_own_limit() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100 + len(os.listdir("/proc/self/fd")), before[1]))  # noqa: PTH208
        raise_own_limit()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == min(hard, 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_program_that_reads_no_answers_blocks_nobody(rig: Rig, file: File) -> None:
    """Its reply socket is full, closed, or no socket at all."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(rig.node.path))
        request = wire.REQUEST.pack(wire.OP_MMAP, 0, 1 << 40, 4096)
        full, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        full.setblocking(False)
        try:
            while True:
                full.send(b"x")
        except BlockingIOError:
            pass
        full.setblocking(True)
        closed, gone = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gone.close()
        with (Path("/dev/null")).open("wb") as nothing:
            for descriptor in (full.fileno(), closed.fileno(), nothing.fileno()):
                socket.send_fds(client, [request], [descriptor])
        answer, mine = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(client, [request], [answer.fileno()])
        mine.settimeout(10)
        assert wire.REPLY.unpack(mine.recv(100))[0] == errno.EINVAL
        for used in (full, other, closed, answer, mine):
            used.close()
    assert file.create(100).handle == 1


def test_a_file_that_does_not_block_is_served(file: File) -> None:
    os.set_blocking(file.fd, False)
    assert all(file.create(64).handle == number for number in range(1, 200))


def test_a_library_whose_path_has_blanks(rig: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "a folder: with more"
    folder.mkdir()
    library = folder / "shim.so"
    library.write_bytes(shim_library().read_bytes())
    environment = rig.node.environment(library)
    code = "import os; print(os.open('/dev/accel/accel0', os.O_RDWR) > 0)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_no_path_without_blanks_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with EmulatedNode() as node, pytest.raises(DeviceError, match="set TMPDIR to a path without blanks"):
        node.preloadable(Path("/else where/shim.so"))


SLEEPER = """
import os, signal, sys, time
def heard(number, frame):
    os.write(1, f"heard {signal.Signals(number).name}\\n".encode())  # print is not to be entered twice
    if number == signal.SIGTERM:
        sys.exit(9)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
    signal.signal(number, heard)
os.write(1, b"ready\\n")
while True:
    time.sleep(0.1)
"""


def test_signals_reach_the_program_and_nothing_is_left(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rocketnpu", "emulate", "--", sys.executable, "-c", SLEEPER]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            child.send_signal(number)
            assert child.stdout.readline() == f"heard {number.name}\n"
        assert child.wait(30) == 9
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 7, 23, 25, 4096])
def test_messages_that_no_shim_sends(rig: Rig, file: File, size: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(rig.node.path))
        client.send(os.urandom(size))
    assert file.create(100).handle >= 1


def test_errors_of_copying_are_the_kernels(file: File, make_rig: Callable[..., Rig]) -> None:
    """More tasks than can be copied is ENOMEM, not EFAULT; a bad pointer is EFAULT."""
    from rocketnpu.rockchip.drivers import rocket_uapi as uapi

    del make_rig
    job = uapi.Job(0, 0, 0, 0x7FFF_FFFF, 8, 0, 0)
    request = uapi.Submit(ctypes.addressof(job), 1, ctypes.sizeof(uapi.Job), 0)
    assert file.do(uapi.SUBMIT, request) in {0, errno.ENOMEM}
    assert threading.active_count() < 50
