"""Whichever driver the node is: hostile numbers, garbage, exhaustion, and what the kernel would say to it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from personalities import CHIPS, Node, fields_of
from test_exhaustion import no_descriptors_left

from rocketnpu.emulator import node as node_module
from rocketnpu.emulator import shim_library, wire
from rocketnpu.verisilicon.drivers import etnaviv_space

ANSWERS = {
    0,
    *(errno.EINVAL, errno.EFAULT, errno.ENOENT, errno.ENOMEM, errno.ENOSPC, errno.ENOTTY, errno.EOPNOTSUPP),
    *(errno.EBUSY, errno.ETIMEDOUT, errno.ENXIO, errno.EALREADY),
}
"""What the kernel's drivers and the DRM core can say to such calls."""
BAD = 0xDEAD0000


@pytest.fixture
def make_node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Node]]:
    made: list[Node] = []

    def make(chip: str, **limits: float) -> Node:
        made.append(Node(chip, **limits))
        for name, value in made[-1].node.variables().items():
            monkeypatch.setenv(name, value)
        return made[-1]

    yield make
    for one in made:
        one.release()
        one.node.stop()


@pytest.fixture(params=CHIPS)
def node(request: pytest.FixtureRequest, make_node: Callable[..., Node]) -> Node:
    return make_node(request.param, memory=1 << 24)


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def edges(bits: int) -> tuple[int, ...]:
    whole = (1 << bits) - 1
    return (0, 1, 2, 7, 4096, whole >> 1, (whole >> 1) + 1, whole - 1, whole)


def test_every_number_of_every_call_at_its_limits(node: Node) -> None:
    """Beside fields that are zero, and beside those of a sound call: sizes and counts, pointers, flags and times."""
    node.release()
    file = node.open()
    error, handle = file.buffer()
    assert error == 0
    for call, kind in file.calls.items():
        for path, bits in fields_of(kind):
            for value in edges(bits):
                for filled in (0, 1, handle):
                    argument = kind()
                    for other, _ in fields_of(kind):
                        if other[-1] in ("handle", "pipe", "op") and filled:
                            set_field(argument, other, filled if other[-1] != "pipe" else 0)
                    set_field(argument, path, value)
                    code = file.do(call, argument)
                    assert code in ANSWERS, (kind.__name__, path, value, errno.errorcode.get(code))
                    if call == file.creates and code == 0:
                        assert file.gem_close(argument.handle) == 0
            if kind.__name__ == "GemClose":
                file.close()
                file = node.open()
                assert file.buffer() == (0, handle)
    file.close()
    assert not [line for line in node.lines if "internal error" in line]
    node.honest()


def set_field(argument: ctypes.Structure, path: tuple[str, ...], value: int) -> None:
    owner: Any = reduce(getattr, path[:-1], argument)
    setattr(owner, path[-1], value)


def test_bad_pointers_are_efault(node: Node) -> None:
    file = node.open()
    for call in file.calls:
        for pointer in (0, 1, BAD, 2**63, 2**64 - 4096):
            assert file.raw(call, pointer) == errno.EFAULT
    file.close()
    node.honest()


def test_garbage_on_the_socket_itself(node: Node) -> None:
    """A program may write to the descriptor that it takes for a device, and pass it any others."""
    node.release()
    choose = random.Random(17)
    probe = node.open()
    calls = [*probe.calls, *(choose.getrandbits(32) for _ in range(4))]
    probe.close()
    nothing = os.open(os.devnull, os.O_RDWR)
    readable = os.memfd_create("short")
    os.ftruncate(readable, 3)
    for _ in range(150):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as raw:
            raw.connect(str(node.node.path))
            one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with one, two:
                operation = choose.choice([0, wire.OP_IOCTL, wire.OP_IOCTL, wire.OP_MMAP, 7])
                head = wire.REQUEST.pack(operation, choose.choice(calls), choose.getrandbits(64), 4096)
                message = choose.choice([head, head, head, choose.randbytes(choose.randrange(1, 200))])
                passed = [one.fileno(), choose.choice([two.fileno(), raw.fileno(), nothing, readable])]
                socket.send_fds(raw, [message], choose.sample(passed * 5, choose.choice([0, 1, 2, 2, 2, 3, 9])))
    os.close(nothing)
    os.close(readable)
    node.honest()


def test_many_files_and_buffers(node: Node) -> None:
    files = [node.open() for _ in range(30)]
    for file in files:
        assert [file.buffer(size) for size in range(1, 20)] == [(0, number) for number in range(1, 20)]
    assert node.node.live_buffers == 30 * 19
    assert files[0].gem_close(7) == files[0].gem_close(3) == files[0].gem_close(11) == 0
    assert [files[0].buffer()[1] for _ in range(4)] == [3, 7, 11, 20], "the lowest free handle"
    for file in files:
        file.close()
    assert eventually(lambda: node.node.live_buffers == 0)
    node.honest()


def test_memory_ends(node: Node) -> None:
    file = node.open()
    assert file.buffer((1 << 24) + 1)[0] == errno.ENOMEM
    assert file.buffer(2**64 - 1)[0] == errno.ENOMEM
    assert file.buffer(1 << 24) == (0, 1)
    assert file.buffer(1)[0] == errno.ENOMEM
    assert file.gem_close(1) == 0
    assert file.buffer(1 << 24) == (0, 1)
    file.close()


@pytest.mark.parametrize("chip", CHIPS)
def test_jobs_that_wait_take_no_more_memory_than_there_is(
    chip: str, make_node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that submits and submits while the NPU is busy is refused, or its jobs are; then it goes on."""
    monkeypatch.setattr(etnaviv_space, "SECONDS", 0.3)
    node = make_node(chip, queued=1 << 17)
    file, second = node.open(), node.open()
    _, handle = file.buffer()
    codes = [file.job(handle) for _ in range(129)]
    if chip == "rk3588":  # the kernel tells a program nothing of jobs that it could not queue
        assert set(codes) == {0}
        assert any("never runs: Cannot allocate memory" in line for line in node.lines)
    else:  # 512 KiB in pages hold the streams of all open files
        assert (set(codes[:-1]), codes[-1]) == ({0}, errno.ETIMEDOUT)
        assert second.buffer() == (0, 1)
        assert second.job(1) == errno.ETIMEDOUT
    second.close()
    node.release()
    assert file.finished(handle) == 0
    assert file.job(handle) == 0
    assert file.finished(handle) == 0
    file.close()


def test_a_node_without_descriptors_waits_and_goes_on(node: Node) -> None:
    file = node.open()
    error, handle = file.buffer()
    assert error == 0
    with no_descriptors_left():
        assert file.finished(handle) == errno.ENOMEM, "the kernel would have no memory for what the call needs"
    assert file.finished(handle) == 0
    assert file.buffer() == (0, 2)
    file.close()
    node.honest()


def test_a_program_that_reads_no_answers_blocks_nobody(node: Node) -> None:
    """Its reply sockets are full or closed, and it waits for jobs hundreds of times at once."""
    file = node.open()
    _, handle = file.buffer()
    assert file.job(handle) == 0
    waiting = next(call for call, kind in file.calls.items() if kind.__name__ in ("PrepBo", "CpuPrep"))
    argument = file.calls[waiting](handle=handle)
    if hasattr(argument, "op"):
        argument.op, argument.timeout.seconds = 1, 2**62
    else:
        argument.timeout_ns = 2**63 - 1
    store = os.memfd_create("argument")
    os.write(store, bytes(argument))
    full, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    full.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            full.send(b"x")
    before = threading.active_count()
    with socket.socket(fileno=os.dup(file.fd)) as client:
        for _ in range(2 * node_module._SLEEPERS):
            request = wire.REQUEST.pack(wire.OP_IOCTL, waiting & 0xFFFFFFFF, 0, 0)
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                socket.send_fds(client, [request], [full.fileno(), store])
        assert threading.active_count() <= before + node_module._SLEEPERS + 2
    second = node.open()
    assert second.buffer() == (0, 1), "others are served meanwhile"
    second.close()
    node.release()
    for used in (full, other):
        used.close()
    os.close(store)
    file.close()
    assert eventually(lambda: threading.active_count() <= before)
    node.honest()


def test_who_waits_when_the_node_goes_away_is_told(node: Node) -> None:
    file = node.open()
    _, handle = file.buffer()
    assert file.job(handle) == 0
    told: list[int] = []
    waiter = threading.Thread(target=lambda: told.append(file.finished(handle, 60)))
    waiter.start()
    time.sleep(0.2)
    stopper = threading.Thread(target=node.node.stop)
    stopper.start()
    time.sleep(0.2)
    node.release()
    stopper.join(30)
    waiter.join(30)
    assert told in ([0], [errno.ENODEV]), "the job ended, or the device was unplugged"
    assert file.buffer()[0] == errno.ENODEV
    assert file.mmap(1 << 32, 4096) == errno.ENODEV
    assert not Path(node.node.path).exists()
    file.close()


ASKS = """
import ctypes, os, stat, sys, json
path = sys.argv[1]
libc = ctypes.CDLL(None)
buffer = (ctypes.c_uint8 * 256)()
def found():
    words = bytes(buffer)
    number = lambda at: int.from_bytes(words[at : at + 4], "little")
    return [stat.S_ISCHR(int.from_bytes(words[28:30], "little")), number(128), number(132)]
def plain(one):
    return [stat.S_ISCHR(one.st_mode), os.major(one.st_rdev), os.minor(one.st_rdev)]
told = [plain(os.stat(path)), plain(os.lstat(path))]
fd = os.open(path, os.O_RDWR)
told += [plain(os.fstat(fd)), plain(os.stat(path, dir_fd=os.open("/", os.O_RDONLY)))]
assert libc.statx(-100, path.encode(), 0, 0xFFF, buffer) == 0
told.append(found())
assert libc.statx(fd, b"", 0x1000, 0xFFF, buffer) == 0
told.append(found())
assert libc.statx(-100, b"/etc/passwd", 0, 0xFFF, buffer) == 0
print(json.dumps([told, found()[0], libc.access(path.encode(), 6), libc.faccessat(-100, path.encode(), 4, 0)]))
"""
"""Asks the system in every way what a path is."""


@pytest.mark.parametrize(("chip", "number"), [("rk3588", [261, 0]), ("a311d", [226, 128])])
def test_what_the_system_says_of_the_node(chip: str, number: list[int], make_node: Callable[..., Node]) -> None:
    node = make_node(chip)
    done = subprocess.run(
        [sys.executable, "-c", ASKS, node.node.driver.node],
        env=node.node.environment(shim_library()),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == [[[True, *number]] * 6, False, 0, 0]
