"""PCI functions for QEMU's ``vfio-user-pci``, played by this process: the device's side of the vfio-user protocol.

Source of the protocol: docs/interop/vfio-user.rst of QEMU 10.1 and newer. Only what a function with memory BARs and one
level-triggered interrupt (INTx) needs: BARs cannot be mapped, so that every access comes here as a message; the guest's
RAM arrives as descriptors.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from rocketnpu.board.guest_memory import GuestMemory

Descriptors = list[int]
_HEADER = struct.Struct("<HHIII")
"""Message number, command, size with this header, flags, error number."""
_IS_REPLY, _NO_REPLY, _IS_ERROR = 0x1, 0x10, 0x20
_ACCESS = struct.Struct("<QII")
"""Offset, region, size."""
_CONFIGURATION_REGION, _REGIONS = 7, 9
_ROM_ADDRESS = 0x30
_CONFIGURATION_BYTES = 256
_CLASS_ACCELERATOR = 0x120000
_IRQ_KINDS = 5
_MOST_DESCRIPTORS = 16
_MOST_BYTES = 1 << 20
REFIRE_SECONDS = 0.05


class _Command(IntEnum):
    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    DEVICE_GET_INFO = 4
    DEVICE_GET_REGION_INFO = 5
    DEVICE_GET_IRQ_INFO = 7
    DEVICE_SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DEVICE_RESET = 13


class Function(Protocol):
    """The hardware behind one PCI function with one BAR. Called from one thread."""

    size: int
    """Bytes of BAR 0, a power of two."""
    blocking: bool
    """Whether a store is acknowledged only when what it started has ended."""

    def read(self, offset: int) -> int:
        """Return the 32-bit register."""

    def write(self, offset: int, value: int) -> None:
        """Write the 32-bit register."""

    def run(self) -> None:
        """Do what the last write started."""

    def reset(self) -> None:
        """Return to the state after power-on."""


class Interrupt:
    """A level-triggered line over vfio, whose interrupts are edges that QEMU masks itself.

    QEMU lowers the line on the guest's next access to the function and unmasks; a line that is still high must then be
    raised again. That is put off until the guest has left the function alone for :data:`REFIRE_SECONDS`, so that a
    handler which reads the status first and masks afterwards meets no second interrupt for the same cause.
    """

    def __init__(self) -> None:
        """Start low, and with nobody who listens."""
        self._descriptor = -1
        self._high = self._raised = False
        self.due: float | None = None
        """When to call :meth:`tick` at the latest (monotonic seconds)."""

    def set(self, high: bool) -> None:
        """Drive the line."""
        self._high = high
        if not high:
            self.due = None
        elif not self._raised:
            self._raise()

    def touched(self) -> None:
        """Note an access of the guest."""
        if self.due is not None:
            self.due = time.monotonic() + REFIRE_SECONDS

    def unmask(self) -> None:
        """Note that QEMU takes interrupts again."""
        self._raised = False
        if self._high:
            self.due = time.monotonic() + REFIRE_SECONDS

    def listen(self, descriptor: int) -> None:
        """Signal on this eventfd from now on; -1 is nobody."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._raised = descriptor, False
        if self._high:
            self._raise()

    def tick(self) -> None:
        """Raise again what is due."""
        if self.due is not None and time.monotonic() >= self.due:
            self._raise()

    def _raise(self) -> None:
        self.due = None
        if self._descriptor >= 0:
            self._raised = True
            os.eventfd_write(self._descriptor, 1)


class Connection:
    """QEMU's connection to one function. Made before QEMU, which connects to ``path``."""

    def __init__(self, path: Path, function: Function, memory: GuestMemory, interrupt: Interrupt) -> None:
        """Listen on ``path``. ``function`` reads ``memory`` and drives ``interrupt``; both are filled from here.

        Raises:
            OSError: the socket cannot be made.
        """
        self.interrupt = interrupt
        self._function, self._memory = function, memory
        self._configuration = _configuration()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.stream: socket.socket | None = None
        self._answers: dict[int, Callable[[bytes, Descriptors], bytes]] = {
            _Command.VERSION: self._version,
            _Command.DMA_MAP: self._map,
            _Command.DMA_UNMAP: self._unmap,
            _Command.DEVICE_GET_INFO: self._info,
            _Command.DEVICE_GET_REGION_INFO: self._region_info,
            _Command.DEVICE_GET_IRQ_INFO: self._interrupt_info,
            _Command.DEVICE_SET_IRQS: self._set_interrupts,
            _Command.REGION_READ: self._read,
            _Command.REGION_WRITE: self._write,
            _Command.DEVICE_RESET: self._reset,
        }

    def accept(self) -> socket.socket:
        """Take QEMU's connection."""
        self.stream, _ = self.listener.accept()
        return self.stream

    def close(self) -> None:
        """Close both sockets and forget the guest's memory."""
        self.listener.close()
        if self.stream is not None:
            self.stream.close()
        self.interrupt.listen(-1)
        self._memory.close()

    def handle(self) -> bool:
        """Answer one message; False where QEMU has gone."""
        assert self.stream is not None
        received = _receive(self.stream)
        if received is None:
            return False
        number, command, flags, body, descriptors = received
        answer = self._answers.get(command)
        reply, error = b"", 0
        if answer is None:
            error = 22
        else:
            reply = answer(body, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        writes = command == _Command.REGION_WRITE
        if writes and self._function.blocking:
            self._function.run()
        if not flags & _NO_REPLY:
            kind = _IS_REPLY | (_IS_ERROR if error else 0)
            self.stream.sendall(_HEADER.pack(number, command, _HEADER.size + len(reply), kind, error) + reply)
        if writes and not self._function.blocking:
            self._function.run()
        return True

    # -- what QEMU asks when it starts

    def _version(self, body: bytes, descriptors: Descriptors) -> bytes:
        del body, descriptors
        limits = {"max_msg_fds": 8, "max_data_xfer_size": _MOST_BYTES, "max_dma_maps": 1024, "pgsizes": 4096}
        return struct.pack("<HH", 0, 0) + json.dumps({"capabilities": limits}).encode() + b"\0"

    def _info(self, body: bytes, descriptors: Descriptors) -> bytes:
        del body, descriptors
        can_reset, is_pci = 1, 2
        return struct.pack("<IIII", 16, can_reset | is_pci, _REGIONS, _IRQ_KINDS)

    def _region_info(self, body: bytes, descriptors: Descriptors) -> bytes:
        del descriptors
        (region,) = struct.unpack_from("<8xI", body)
        size = {0: self._function.size, _CONFIGURATION_REGION: _CONFIGURATION_BYTES}.get(region, 0)
        readable_writable = 3
        return struct.pack("<IIIIQQ", 32, readable_writable if size else 0, region, 0, size, 0)

    def _interrupt_info(self, body: bytes, descriptors: Descriptors) -> bytes:
        del descriptors
        (kind,) = struct.unpack_from("<8xI", body)
        eventfd, maskable, masks_itself = 1, 2, 4
        is_intx = kind == 0
        return struct.pack("<IIII", 16, eventfd | (maskable | masks_itself if is_intx else 0), kind, int(is_intx))

    def _set_interrupts(self, body: bytes, descriptors: Descriptors) -> bytes:
        _, flags, kind, _, count = struct.unpack_from("<IIIII", body)
        carries_eventfd, unmask, trigger = 0x4, 0x10, 0x20
        if kind != 0:
            return b""
        if flags & trigger and (flags & carries_eventfd or not count):
            self.interrupt.listen(descriptors.pop(0) if descriptors else -1)
        elif flags & unmask:
            self.interrupt.unmask()
        return b""

    # -- memory

    def _map(self, body: bytes, descriptors: Descriptors) -> bytes:
        _, flags, offset, address, size = struct.unpack_from("<IIQQQ", body)
        writable = 2
        if descriptors and flags & writable:
            self._memory.add(address, size, descriptors[0], offset)
        return b""

    def _unmap(self, body: bytes, descriptors: Descriptors) -> bytes:
        del descriptors
        _, flags, address, size = struct.unpack_from("<IIQQ", body)
        everything = 2
        if flags & everything:
            self._memory.close()
        else:
            self._memory.remove(address, size)
        return body

    # -- registers

    def _read(self, body: bytes, descriptors: Descriptors) -> bytes:
        del descriptors
        offset, region, size = _ACCESS.unpack_from(body)
        if region == _CONFIGURATION_REGION:
            return body + bytes(self._configuration[offset : offset + size])
        self.interrupt.touched()
        return body + self._function.read(offset).to_bytes(4, "little")[:size]

    def _write(self, body: bytes, descriptors: Descriptors) -> bytes:
        del descriptors
        offset, region, size = _ACCESS.unpack_from(body)
        data = body[_ACCESS.size : _ACCESS.size + size]
        if region != _CONFIGURATION_REGION:
            self.interrupt.touched()
            self._function.write(offset, int.from_bytes(data, "little"))
        elif offset & ~3 != _ROM_ADDRESS:
            self._configuration[offset : offset + size] = data
        return body[: _ACCESS.size]

    def _reset(self, body: bytes, descriptors: Descriptors) -> bytes:
        del body, descriptors
        self.interrupt.set(False)
        self._function.reset()
        return b""


def _configuration() -> bytearray:
    """A function of class "processing accelerator" with an interrupt; the numbers are nobody's."""
    space = bytearray(_CONFIGURATION_BYTES)
    struct.pack_into("<HH", space, 0, 0x1234, 1)
    space[8:12] = (_CLASS_ACCELERATOR << 8 | 1).to_bytes(4, "little")
    space[0x3D] = 1
    return space


def _receive(stream: socket.socket) -> tuple[int, int, int, bytes, Descriptors] | None:
    """Read one message: number, command, flags, body and descriptors. None at the end of the stream."""
    try:
        data, ancillary, _, _ = stream.recvmsg(_HEADER.size, socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4))
    except ConnectionResetError:
        return None
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
    data += _exactly(stream, _HEADER.size - len(data)) if data else b""
    if len(data) < _HEADER.size:
        return None
    number, command, size, flags, _ = _HEADER.unpack(data)
    body = _exactly(stream, size - _HEADER.size)
    return number, command, flags, body, list(descriptors)


def _exactly(stream: socket.socket, size: int) -> bytes:
    """Read ``size`` bytes, fewer at the end of the stream."""
    if size > _MOST_BYTES:
        raise ConnectionError(f"a message of {size} bytes")
    data = b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            break
        data += more
    return data
