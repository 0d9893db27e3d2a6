"""What the kernel drivers have in common: an open file, buffers that belong to it, and errors told in words."""

from __future__ import annotations

import abc
import ctypes
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rocketnpu.closing import Closing
from rocketnpu.device import uapi
from rocketnpu.device.base import METHODS, Buffer, DeviceJob, DeviceTask
from rocketnpu.device.calls import Calls, SystemCalls
from rocketnpu.device.mapping import Mapping
from rocketnpu.device.nodes import find_node
from rocketnpu.device.one_at_a_time import OneAtATime
from rocketnpu.device.standing import UNASKED
from rocketnpu.errors import DeviceError, DeviceTimeoutError

Words = npt.NDArray[np.uint64]
MOST_PREPARED = 64
"""Lists of jobs that a driver keeps checked and ready: those of all copies of all parts at work, not of more."""
_WORDS_OF_ERRORS = {
    errno.ENOMEM: "the kernel has no memory left",
    errno.ENOSPC: "the 4 GiB of addresses of one open file are used up",
    errno.ENODEV: "the device is gone",
    errno.ETIMEDOUT: "jobs did not finish in time",
    errno.EBUSY: "jobs did not finish in time",
}


@dataclass(eq=False)
class Owned:
    """A buffer of a device, and its memory."""

    buffer: Buffer
    mapping: Mapping
    busy: bool = False
    """Whether a submitted job may still write it."""
    secret: int = 0
    """What the driver wants to hear again about it."""


class KernelDevice(Closing, OneAtATime):
    """A :class:`~rocketnpu.device.base.Device` behind a device node. Works from any thread, one call at a time.

    It refuses to work in a forked child: the child shares the parent's open file, whose buffers are the parent's.
    """

    taking_turns: ClassVar[tuple[str, ...]] = METHODS
    name: str
    chip: str
    nodes: ClassVar[tuple[str, ...]]
    """Where the driver's nodes may be."""
    standing = UNASKED
    """What was proven on the board behind it; set by who opens it."""
    takes_risks = False
    """Whether what may hang a board is started although it was not proven on this one: a trial asks."""

    def __init__(self, path: str, calls: Calls | None, refusal: Callable[[Calls, int], str] | None = None) -> None:
        """Open ``path``, or the first of ``nodes`` whose driver is called ``name`` and which ``refusal`` takes.

        Raises:
            DeviceError: no such node, no permission, another driver, or another chip.
        """
        self._calls = calls or SystemCalls()
        self._process = os.getpid()
        self._owned: dict[int, Owned] = {}
        self.path, self._fd = find_node(self._calls, [path] if path else self.nodes, self.name, refusal)

    @property
    def calls(self) -> Calls:
        """What stands for the kernel."""
        return self._calls

    def driver_version(self) -> str:
        """Return the driver's version as it tells it, such as 0.9.8.

        Raises:
            DeviceError: the device is closed, or gone.
        """
        found = uapi.Version()
        self._ioctl(uapi.VERSION, found, "ask for the driver's version")
        return f"{found.major}.{found.minor}.{found.patch}"

    # -- for the drivers

    @abc.abstractmethod
    def _settle(self) -> None:
        """Wait until no submitted job runs."""

    @abc.abstractmethod
    def _forget_jobs(self) -> None:
        """Drop what was prepared for jobs, because buffers are about to go."""

    @abc.abstractmethod
    def _release(self, owned: Owned) -> None:
        """Tell the driver that a buffer is given back."""

    @abc.abstractmethod
    def allocate(self, size: int) -> Buffer:
        """Allocate zero-filled memory; see :class:`~rocketnpu.device.base.Device`."""

    @abc.abstractmethod
    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        """Queue jobs; see :class:`~rocketnpu.device.base.Device`."""

    @abc.abstractmethod
    def sync_for_device(self, buffer: Buffer) -> None:
        """Hand a buffer to the device; see :class:`~rocketnpu.device.base.Device`."""

    @abc.abstractmethod
    def sync_for_cpu(self, buffer: Buffer, timeout: float) -> None:
        """Wait for a buffer; see :class:`~rocketnpu.device.base.Device`."""

    def _ioctl(self, number: int, argument: ctypes.Structure, action: str) -> None:
        """Do an ioctl, again where a signal interrupted it.

        Raises:
            DeviceError: the driver refused; the message says what was to be done.
        """
        self._alive()
        while True:
            try:
                self._calls.ioctl(self._fd, number, argument)
            except InterruptedError:
                continue  # Python has run the signal's handler; deadlines are absolute
            except OSError as error:
                raise self._error(error, action) from None
            return

    def _error(self, error: OSError, action: str) -> DeviceError:
        kind = DeviceTimeoutError if error.errno in (errno.ETIMEDOUT, errno.EBUSY) else DeviceError
        reason = _WORDS_OF_ERRORS.get(error.errno or 0, os.strerror(error.errno or 0))
        return kind(f"{self.name} ({self.path}): cannot {action}: {reason}")

    def _own(self, buffer: Buffer) -> Owned:
        self._alive()
        owned = self._owned.get(buffer.handle)
        if owned is None or owned.buffer is not buffer:
            raise DeviceError(f"{self.name}: {buffer} is not, or no longer, a buffer of this device")
        return owned

    def _alive(self) -> None:
        if self._fd < 0:
            raise DeviceError(f"{self.name}: the device is closed")
        if self._process != os.getpid():
            raise DeviceError(f"{self.name}: opened by process {self._process}; open the device again after a fork")

    # -- memory

    def free(self, buffer: Buffer) -> None:
        """Wait until no job can use the buffer, then give it back.

        Jobs use buffers that they do not list (weights, commands), so all running jobs are waited for.
        """
        owned = self._own(buffer)
        try:
            self._settle()
        finally:
            self._forget_jobs()
            del self._owned[buffer.handle]
            owned.mapping.release()
            self._release(owned)

    def map(self, buffer: Buffer) -> memoryview:
        """Return its bytes; see :class:`~rocketnpu.device.base.Device`."""
        return self._own(buffer).mapping.view

    def owns(self, address: int, size: int) -> bool:
        """Say whether ``size`` bytes at an NPU address lie inside one of this device's buffers."""
        return self._at(address, size) is not None

    def words(self, task: DeviceTask) -> Words:
        """Return the command words of a task, in place.

        Raises:
            DeviceError: they do not lie inside a buffer of this device.
        """
        owned = self._at(task.address, task.words * 8) if task.words > 0 else None
        if owned is None:
            place = f"0x{task.address:x} ({task.words} words)"
            raise DeviceError(f"{self.name}: command list at {place} is not inside one of the device's buffers")
        return np.frombuffer(owned.mapping.view, "<u8", task.words, task.address - owned.buffer.address)

    def _at(self, address: int, size: int) -> Owned | None:
        for owned in self._owned.values():
            if owned.buffer.address <= address and address + size <= owned.buffer.address + owned.buffer.size:
                return owned
        return None

    # -- life

    def close(self) -> None:
        """Wait for running jobs, give every buffer back and close the file. Twice is allowed.

        In a forked child only the child's descriptor is closed. Of an unplugged device nothing needs to be given back.
        """
        if self._fd < 0:
            return
        try:
            if self._process == os.getpid():
                self._give_back()
        finally:
            for owned in self._owned.values():
                owned.mapping.release()
            self._owned.clear()
            fd, self._fd = self._fd, -1
            self._calls.close(fd)

    def _give_back(self) -> None:
        """Free all buffers; errors end it, since the kernel frees what is left with the file."""
        try:
            self._settle()
            self._forget_jobs()
            for owned in self._owned.values():
                self._release(owned)
        except DeviceError:
            return
