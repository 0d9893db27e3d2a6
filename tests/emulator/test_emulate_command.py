"""``rocketnpu emulate``: any program, unchanged, meets the node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from raw_node import File, Rig, name

from rocketnpu.emulator import shim_library
from rocketnpu.errors import DeviceError
from rocketnpu.files.compiled import FLAGS


def emulate(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rocketnpu.cli.main", "emulate", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=dict(os.environ) | environment,
    )


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return emulate("--", sys.executable, "-c", textwrap.dedent(code), *arguments)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 128 + signal.SIGTERM),
        # Python ignores this one for itself.
        ("kill -PIPE $$; exit 1", 128 + signal.SIGPIPE),
        # A signal that comes as soon as there is a program.
        ("trap 'exit 9' USR1; kill -USR1 $PPID; while :; do sleep 0.1; done", 9),
    ],
)
def test_the_exit_status_is_the_programs(script: str, status: int) -> None:
    done = emulate("--", "sh", "-c", f"echo output; {script}")
    assert (done.returncode, done.stdout) == (status, "output\n")


def test_a_command_that_is_not_there() -> None:
    done = emulate("--", "/nowhere/program")
    assert done.returncode == 2
    assert "cannot run /nowhere/program: No such file or directory" in done.stderr


def test_a_folder_whose_path_is_too_long(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    done = emulate("--", "true", TMPDIR=str(folder))
    assert done.returncode == 2
    assert "set TMPDIR to a short path" in done.stderr
    assert not list(folder.iterdir())


def test_no_command_at_all() -> None:
    done = emulate()
    assert done.returncode == 2
    assert "give a command after --" in done.stderr


def test_no_compiler(tmp_path: Path) -> None:
    done = emulate("--", "true", CC="no-such-compiler", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "needs a C compiler, and there is no 'no-such-compiler'; install gcc" in done.stderr
    assert not list(tmp_path.rglob("*.so"))


def test_a_compiler_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DeviceError, match="false cannot compile"):
        shim_library("false")


def test_the_library_is_compiled_once_and_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert {"-Wall", "-Wextra", "-Werror"} <= set(FLAGS)
    first = shim_library()
    when = first.stat().st_mtime_ns
    assert shim_library() == first
    assert first.stat().st_mtime_ns == when


def test_a_plain_python_program(tmp_path: Path) -> None:
    """Nothing of this package: fcntl, mmap and os of the standard library."""
    code = """
        import fcntl, mmap, os, stat, struct, sys, time
        os.chdir(sys.argv[1])
        assert os.access("/dev/accel/accel0", os.R_OK)
        assert stat.S_ISCHR(os.stat("/dev/accel/accel0").st_mode)
        fd = os.open("/dev/accel/accel0", os.O_RDWR | os.O_CLOEXEC)
        assert stat.S_ISCHR(os.fstat(fd).st_mode)
        made = fcntl.ioctl(fd, 0xC0186440, struct.pack("=IIQQ", 5000, 0, 0, 0))
        _, handle, address, offset = struct.unpack("=IIQQ", made)
        assert (handle, address) == (1, 0)
        for copy in (fd, os.dup(fd), fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 50), os.dup2(fd, 77)):
            memory = mmap.mmap(copy, 5000, offset=offset)
            memory[0] += 1
        assert memory[0] == 4
        fcntl.ioctl(fd, 0x40106442, struct.pack("=IIq", handle, 0, time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 10**9))
        try:
            fcntl.ioctl(fd, 0x40086443, struct.pack("=II", 9, 0))
        except FileNotFoundError:
            print("as a kernel does")
        with open("plain.txt", "x") as file:
            file.write("text")
        assert open("plain.txt").read() == "text"
        assert stat.S_IMODE(os.stat("plain.txt").st_mode) == 0o666 & ~os.umask(0)
        os.unlink("plain.txt")
        anonymous = mmap.mmap(-1, 4096)
        anonymous[:] = b"x" * 4096
    """
    done = python(code, str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "as a kernel does\n"), done.stderr


def test_dropped_jobs_are_told_on_stderr_only() -> None:
    code = """
        from rocketnpu.rockchip.drivers import rocket_uapi as uapi
        from rocketnpu.device.calls import SystemCalls
        import ctypes
        calls = SystemCalls()
        fd = calls.open("/dev/accel/accel0")
        job = uapi.Job(0, 0, 0, 0, 8, 0, 0)
        calls.ioctl(fd, uapi.SUBMIT, uapi.Submit(ctypes.addressof(job), 1, 40, 0))
        print("returned 0")
    """
    loud = python(code)
    assert (loud.returncode, loud.stdout) == (0, "returned 0\n"), loud.stderr
    assert "job 0 of a SUBMIT never runs: Invalid argument" in loud.stderr
    quiet = emulate("--quiet", "--", sys.executable, "-c", textwrap.dedent(code))
    assert (quiet.stdout, quiet.stderr) == ("returned 0\n", "")


def test_another_terminal_can_join() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "rocketnpu.cli.main", "emulate", "--print-environment"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    settings = dict(server.stdout.readline().strip().split("=", 1) for _ in range(4))
    code = "import os; os.open('/dev/accel/accel0', os.O_RDWR); print('open')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ) | settings, capture_output=True, text=True, check=False
    )
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0
    server.stdout.close()
    assert done.stdout == "open\n", done.stderr
    assert not Path(settings["ROCKETNPU_NODE_SOCKET"]).exists()


def test_threads_do_not_mix_their_answers_up(rig: Rig, file: File) -> None:
    rig.release()
    wrong: list[tuple[int, int]] = []

    def hammer(size: int) -> None:
        for _ in range(60):
            made = file.create(size)
            if made.size != size or name(file.fini(made.handle)) != "0" or file.gem_close(made.handle):
                wrong.append((size, made.handle))

    threads = [threading.Thread(target=hammer, args=(4096 * number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert rig.node.live_buffers == 0
    assert file.create(4096).dma_address == 0
