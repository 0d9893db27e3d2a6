"""The device's side of vfio-user, spoken to as QEMU does (docs/interop/vfio-user.rst)."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rocketnpu.board.guest_memory import GuestMemory, NoMemoryError
from rocketnpu.board.server import Server
from rocketnpu.board.vfio_user import Connection, Interrupt

HEADER = struct.Struct("<HHIII")
VERSION, DMA_MAP, DMA_UNMAP, INFO, REGION_INFO, IRQ_INFO, SET_IRQS, READ, WRITE, RESET = 1, 2, 3, 4, 5, 7, 8, 9, 10, 13
CONFIGURATION = 7


class Registers:
    """A function that stores what is written."""

    size = 0x10000

    def __init__(self, blocking: bool) -> None:
        self.blocking = blocking
        self.values: dict[int, int] = {}
        self.ran = self.resets = 0

    def read(self, offset: int) -> int:
        return self.values.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        self.values[offset] = value

    def run(self) -> None:
        self.ran += 1

    def reset(self) -> None:
        self.resets += 1


class Qemu:
    """The other end of the socket."""

    def __init__(self, path: Path) -> None:
        self.stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.stream.settimeout(10)
        self.stream.connect(str(path))
        self.number = 0

    def ask(self, command: int, body: bytes = b"", descriptors: tuple[int, ...] = ()) -> tuple[int, bytes]:
        self.number += 1
        message = HEADER.pack(self.number, command, HEADER.size + len(body), 0, 0) + body
        socket.send_fds(self.stream, [message], descriptors)
        head = self.stream.recv(HEADER.size, socket.MSG_WAITALL)
        number, answered, size, flags, error = HEADER.unpack(head)
        assert (number, answered, flags & 1) == (self.number, command, 1)
        return error, self.stream.recv(size - HEADER.size, socket.MSG_WAITALL) if size > HEADER.size else b""

    def read(self, offset: int, region: int = 0, size: int = 4) -> int:
        access = struct.pack("<QII", offset, region, size)
        error, body = self.ask(READ, access)
        assert (error, body[:16]) == (0, access)
        return int.from_bytes(body[16:], "little")

    def write(self, offset: int, value: int, region: int = 0, size: int = 4) -> None:
        access = struct.pack("<QII", offset, region, size)
        assert self.ask(WRITE, access + value.to_bytes(size, "little")) == (0, access)


class Bench:
    def __init__(self, folder: Path, blocking: bool = True) -> None:
        self.function, self.memory, self.interrupt = Registers(blocking), GuestMemory(), Interrupt()
        self.connection = Connection(folder / "socket", self.function, self.memory, self.interrupt)
        self.woken = 0
        self.server = Server([self.connection], self._wake)
        self.server.start()
        self.qemu = Qemu(folder / "socket")

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.server.end()
    made.server.release()
    made.qemu.stream.close()
    assert made.server.failure is None


def test_what_qemu_asks_first(bench: Bench) -> None:
    error, body = bench.qemu.ask(VERSION, struct.pack("<HH", 0, 0) + b'{"capabilities": {}}\0')
    assert error == 0
    assert body[4:].startswith(b'{"capabilities"')
    assert struct.unpack("<IIII", bench.qemu.ask(INFO, bytes(16))[1]) == (16, 3, 9, 5)
    for region, size in ((0, 0x10000), (1, 0), (CONFIGURATION, 256)):
        _, body = bench.qemu.ask(REGION_INFO, struct.pack("<IIIIQQ", 32, 0, region, 0, 0, 0))
        assert struct.unpack("<IIIIQQ", body) == (32, 3 if size else 0, region, 0, size, 0)
    assert struct.unpack("<IIII", bench.qemu.ask(IRQ_INFO, struct.pack("<IIII", 16, 0, 0, 0))[1]) == (16, 7, 0, 1)
    assert bench.qemu.ask(99)[0] == 22


def test_registers_and_configuration(bench: Bench) -> None:
    bench.qemu.write(0x20, 0xDEADBEEF)
    assert bench.qemu.read(0x20) == 0xDEADBEEF
    assert bench.function.ran == 1
    assert bench.qemu.read(8, CONFIGURATION) >> 16 == 0x1200, "class: processing accelerator"
    assert bench.qemu.read(0x3D, CONFIGURATION, 1) == 1, "INTA"
    bench.qemu.write(0x30, 0xFFFFFFFF, CONFIGURATION)
    assert bench.qemu.read(0x30, CONFIGURATION) == 0, "no expansion ROM"
    bench.qemu.ask(RESET)
    assert bench.function.resets == 1


def test_memory_comes_and_goes(bench: Bench) -> None:
    descriptor = os.memfd_create("ram")
    os.ftruncate(descriptor, 0x4000)
    os.pwrite(descriptor, bytes(range(16)), 0x2010)
    bench.qemu.ask(DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0x1000, 0x4000_0000, 0x3000), (descriptor,))
    words = bench.memory.words(0x4000_1010, 4)
    assert words.tobytes() == bytes(range(16))
    words[0] = 0x55
    assert os.pread(descriptor, 1, 0x2010) == b"\x55", "shared, not copied"
    assert bench.memory.place(0x4000_1010, 8).offset == 0x2010
    for address in (0x3FFF_FFFC, 0x4000_2FFC):
        with pytest.raises(NoMemoryError, match="the guest has no RAM"):
            bench.memory.words(address, 2)
    bench.qemu.ask(DMA_UNMAP, struct.pack("<IIQQ", 24, 0, 0x4000_0000, 0x3000))
    with pytest.raises(NoMemoryError):
        bench.memory.words(0x4000_1010, 1)
    os.close(descriptor)


def test_a_level_is_raised_again_after_it_was_unmasked(bench: Bench) -> None:
    event = os.eventfd(0, os.EFD_NONBLOCK)
    trigger, unmask = 4 | 0x20, 1 | 0x10
    bench.qemu.ask(SET_IRQS, struct.pack("<IIIII", 20, trigger, 0, 0, 1), (event,))
    bench.interrupt.set(True)
    assert os.eventfd_read(event) == 1
    bench.qemu.ask(SET_IRQS, struct.pack("<IIIII", 20, unmask, 0, 0, 1))
    with pytest.raises(BlockingIOError):
        os.eventfd_read(event)
    due = bench.interrupt.due
    assert due is not None
    bench.qemu.read(0)
    assert bench.interrupt.due is None or bench.interrupt.due > due, "an access of the guest puts it off"
    os.set_blocking(event, True)
    assert os.eventfd_read(event) == 1
    bench.interrupt.set(False)
    bench.qemu.ask(SET_IRQS, struct.pack("<IIIII", 20, unmask, 0, 0, 1))
    assert bench.interrupt.due is None
    os.close(event)


def test_a_posted_write_is_answered_before_its_work(tmp_path: Path) -> None:
    made = Bench(tmp_path, blocking=False)
    made.function.run = made.server.wake  # type: ignore[method-assign]
    made.qemu.write(8, 1)
    made.qemu.read(8)
    made.qemu.stream.close()
    made.server.join(10)
    assert not made.server.is_alive(), "the server ends with its last connection"
    assert made.woken >= 1
    assert made.server.failure is None


def test_a_broken_message_ends_the_server_with_its_reason(tmp_path: Path) -> None:
    made = Bench(tmp_path)
    made.qemu.stream.sendall(HEADER.pack(1, READ, 0xFFFF_FFFF, 0, 0))
    made.server.join(10)
    assert isinstance(made.server.failure, ConnectionError)
    made.qemu.stream.close()


def test_views_outlive_a_range_that_goes() -> None:
    memory = GuestMemory()
    descriptor = os.memfd_create("ram")
    os.ftruncate(descriptor, 0x1000)
    memory.add(0, 0x1000, descriptor, 0)
    os.close(descriptor)
    words = memory.words(0, 4)
    memory.close()
    assert np.array_equal(words, np.zeros(4, np.uint32))
