"""What the preloaded library tells a program when whoever answers is hostile, or dies: always a kernel's error."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rocketnpu.emulator import driver_of, shim_library, wire

PROGRAM = textwrap.dedent("""
    import ctypes, errno, json, os, sys
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap64.restype = ctypes.c_void_p
    libc.mmap64.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
    libc.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)
    before = len(os.listdir("/proc/self/fd"))
    fd = os.open(sys.argv[1], os.O_RDWR)
    told = []
    for number in map(int, sys.argv[2:]):
        arena = ctypes.create_string_buffer(b"\\xaa" * 4096, 4096)
        failed = libc.ioctl(fd, number, arena)
        told.append(errno.errorcode[ctypes.get_errno()] if failed else "0")
        if not failed and number & 0xff == 0x2d:
            os.close(int.from_bytes(arena.raw[8:12], "little"))
        assert arena.raw[number >> 16 & 0x3fff :].strip(b"\\xaa") == b"", "written behind the argument"
    place = libc.mmap64(None, 4096, 3, 1, fd, 1 << 32)
    told.append(errno.errorcode[ctypes.get_errno()] if place == ctypes.c_void_p(-1).value else "0")
    os.close(fd)
    told.append(len(os.listdir("/proc/self/fd")) - before)
    print(json.dumps(told))
""")
CREATES = {"rk3588": 0xC0186440, "a311d": 0xC0106442}
"""Ioctls that allocate."""
EXPORTS = 0xC00C642D
"""PRIME_HANDLE_TO_FD."""
Answer = Callable[[socket.socket, socket.socket, list[int]], None]
"""Does something with the connection, the socket for the reply, and the descriptors that came."""


def reply(error: int = 0, *, length: int = 8, fds: int = 0) -> Answer:
    def answer(_client: socket.socket, back: socket.socket, _given: list[int]) -> None:
        data = (struct.pack("<iI", error, 0) + bytes(64))[:length]
        nothing = os.open(os.devnull, os.O_RDWR)
        socket.send_fds(back, [data], [nothing] * fds)
        os.close(nothing)

    return answer


def vanish(client: socket.socket, _back: socket.socket, _given: list[int]) -> None:
    client.shutdown(socket.SHUT_RDWR)


def shrunken(_client: socket.socket, back: socket.socket, given: list[int]) -> None:
    """Take the argument away."""
    if len(given) > 1:
        os.ftruncate(given[1], 0)
    back.send(wire.REPLY.pack(0, 0))


def enlarged(_client: socket.socket, back: socket.socket, given: list[int]) -> None:
    """Answer with more than the program asked for."""
    if len(given) > 1:
        os.pwrite(given[1], b"\x55" * (1 << 20), 0)
    back.send(wire.REPLY.pack(0, 0))


HOSTILE: dict[str, tuple[Answer, list[set[str]]]] = {
    "dies": (vanish, [{"ENODEV"}, {"ENODEV"}, {"ENODEV"}]),
    "says nothing": (reply(length=0), [{"ENODEV"}] * 3),
    "too short": (reply(length=3), [{"ENODEV"}] * 3),
    "too long": (reply(length=60), [{"0", "ENODEV"}, {"0", "ENODEV", "EIO"}, {"ENODEV", "EIO", "EBADF", "EINVAL"}]),
    "negative error": (reply(-5), [{"EIO"}] * 3),
    "huge error": (reply(2**31 - 1), [{"EIO"}] * 3),
    "an error of its own": (reply(95), [{"EOPNOTSUPP", "ENOTSUP"}] * 3),
    "no descriptor": (reply(), [{"0"}, {"EIO"}, {"EIO", "EBADF", "EINVAL", "ENODEV"}]),
    "many descriptors": (reply(fds=5), [{"0"}, {"0"}, {"0", "ENODEV", "EMFILE", "EINVAL", "EACCES", "EIO"}]),
    "takes the argument": (shrunken, [{"EFAULT"}, {"EFAULT"}, {"EIO", "EBADF", "EINVAL", "ENODEV"}]),
    "more than asked": (enlarged, [{"0"}, {"EIO"}, {"EIO", "EBADF", "EINVAL", "ENODEV"}]),
}
"""How a server answers, and what a program may be told of allocating, exporting and mapping."""


@contextmanager
def serving(path: Path, answer: Answer) -> Iterator[None]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(4)

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            while True:
                try:
                    message, given, _, _ = socket.recv_fds(client, 4096, 8)
                except OSError:
                    return
                if not message:
                    return
                with socket.socket(fileno=given[0]) as back:
                    answer(client, back, given)
                for descriptor in given[1:]:
                    os.close(descriptor)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(20)
        listener.close()


@pytest.mark.parametrize("chip", CREATES)
@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_server_is_an_error_and_no_more(how: str, chip: str, tmp_path: Path) -> None:
    answer, wanted = HOSTILE[how]
    driver = driver_of(chip)
    path = tmp_path / "node"
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim_library()),
        "ROCKETNPU_NODE_SOCKET": str(path),
        "ROCKETNPU_NODE_DRIVER": driver.name,
        "ROCKETNPU_NODE_PATH": driver.node,
    }
    calls = [str(CREATES[chip]), str(EXPORTS)]
    with serving(path, answer):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, driver.node, *calls],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    *told, kept = json.loads(done.stdout)
    assert [one in allowed for one, allowed in zip(told, wanted, strict=True)] == [True] * 3, told
    assert kept == 0, "descriptors that the server passed are not lost"
