"""What every device offers: memory that it can reach, and jobs that it runs.

A device may be used from any thread: its methods run one at a time
(:class:`~rocketnpu.device.one_at_a_time.OneAtATime`).

A device knows buffers, addresses and command lists. It knows no model: :mod:`rocketnpu.device.executor` places a
program on it. To write another back end, implement :class:`Device` and run ``tests/device/test_contract.py`` on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from rocketnpu.device.calls import Calls
from rocketnpu.policy import Target

METHODS = ("allocate", "free", "map", "sync_for_device", "submit", "sync_for_cpu", "close")
"""Methods of a device that touch its state: they run one at a time, whatever threads call them."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory that the device can reach. Valid until it is freed or its device is closed."""

    handle: int
    address: int
    """Address as the NPU sees it; 0 is legitimate."""
    size: int
    """Bytes asked for."""


@dataclass(frozen=True, slots=True)
class DeviceTask:
    """One command list, ready to fetch."""

    address: int
    words: int
    """64-bit words, all of them."""
    kind: int
    """What runs it, in the numbers of the chip's family, for the driver."""


@dataclass(frozen=True, slots=True)
class DeviceJob:
    """Tasks that run one after another on one core, with the buffers they read and write."""

    tasks: tuple[DeviceTask, ...]
    reads: tuple[Buffer, ...] = ()
    writes: tuple[Buffer, ...] = ()


def _any_chip(_calls: Calls, _fd: int) -> str:
    """Take every node of a driver: it drives no other chip."""
    return ""


@dataclass(frozen=True)
class Driver:
    """A kernel driver that a chip can be reached by. Several chips may have drivers of one name."""

    name: str
    """As the driver names itself, and as users name the device."""
    chip: str
    """The chip behind it."""
    target: Target
    """Whose rules programs for it follow."""
    nodes: tuple[str, ...]
    """Where its device nodes may be."""
    open: Callable[[int, Calls | None], Device]
    """Opens a core by number; the calls stand in for the kernel in tests.

    Raises:
        DeviceError: there is no such node, no permission, another driver, or another chip behind it.
    """
    refusal: Callable[[Calls, int], str] = field(default=_any_chip)
    """Says why an open node of this driver is not this chip; empty where it is."""


@runtime_checkable
class SharesMemory(Protocol):
    """A device that reaches several cores by one address space: one inference can be shared out without copies."""

    shared_cores: int
    """How many cores it reaches, its own included."""

    def submit_together(self, steps: Sequence[Sequence[DeviceJob | None]]) -> None:
        """Run the jobs of each step at once, one on each core from core 0 on, and each step when the last has ended.

        Blocks until all have ended. Nothing is synchronised between steps: the jobs' memory is the device's.

        Raises:
            DeviceTimeoutError: a job did not end; what follows was not started.
            DeviceError: the driver refused them.
        """


@runtime_checkable
class Device(Protocol):
    """An NPU, or something that behaves like one. A context manager: leaving it closes it.

    A buffer belongs to the device that allocated it. Between ``sync_for_device`` and the matching ``sync_for_cpu``
    its memory belongs to the device and must not be touched by the caller.
    """

    name: str
    """Short name for messages, such as "simulator"."""
    chip: str
    """Name of the chip that it is."""

    def allocate(self, size: int) -> Buffer:
        """Allocate ``size`` bytes, zero filled, the address 16-byte aligned.

        Raises:
            DeviceError: no memory, no address space, or the size is not positive.
        """

    def free(self, buffer: Buffer) -> None:
        """Give a buffer back; its mapping ends. Freeing twice is an error.

        Raises:
            DeviceError: the buffer is not (or no longer) this device's.
        """

    def map(self, buffer: Buffer) -> memoryview:
        """Return the buffer's bytes, writable, ``buffer.size`` long; the same memory at each call."""

    def sync_for_device(self, buffer: Buffer) -> None:
        """Hand the buffer to the device: what the CPU wrote becomes visible to it."""

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        """Queue jobs, in dependency order.

        Raises:
            DeviceError: the driver refused them.
        """

    def sync_for_cpu(self, buffer: Buffer, timeout: float) -> None:
        """Wait until no job writes the buffer, then make it visible to the CPU.

        Args:
            buffer: one of this device's buffers.
            timeout: seconds from now.

        Raises:
            DeviceTimeoutError: the jobs did not end in time.
        """

    def close(self) -> None:
        """Free everything. Closing twice is allowed."""

    def __enter__(self) -> Self:
        """Return the device itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the device."""
