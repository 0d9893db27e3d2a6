"""The IOMMU of an NPU core as Linux programs it, and the guest's memory as the core sees it through its page tables.

Source of registers, commands and table entries: drivers/iommu/rockchip-iommu.c of Linux 7.2 (the second version, with
36 and more address bits, of RK3568 and RK3588).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rocketnpu.board.guest_memory import GuestMemory
from rocketnpu.errors import RocketError, SimulationError
from rocketnpu.memory import Array, Memory

PAGE = 4096
_TABLE_ENTRIES = 1024
_TABLE_SHIFT = 22
_PRESENT, _READABLE, _WRITABLE = 1, 2, 4
_READ_WRITE = _PRESENT | _READABLE | _WRITABLE

DTE_ADDRESS, STATUS, COMMAND, FAULT_ADDRESS, ZAP_ONE_LINE = 0x00, 0x04, 0x08, 0x0C, 0x10
INTERRUPT_RAW, INTERRUPT_CLEAR, INTERRUPT_MASK, INTERRUPT_STATUS, AUTO_GATING = 0x14, 0x18, 0x1C, 0x20, 0x24
_PAGING, _FAULT_ACTIVE, _STALLED, _IDLE, _REPLAY_EMPTY, _FAULT_WRITE = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_INTERRUPT_PAGE_FAULT = 1
_ENABLE_PAGING, _DISABLE_PAGING, _STALL, _UNSTALL, _FAULT_DONE, _FORCE_RESET = 0, 1, 2, 3, 5, 6


class PageFaultError(RocketError):
    """The core reads or writes an address that its page tables do not map, or not so."""

    def __init__(self, address: int, write: bool) -> None:
        """Keep the first address without a page, and whether it was to be written."""
        self.address, self.write = address, write
        super().__init__(f"page fault at 0x{address:x}, {'write' if write else 'read'}")


class Iommu:
    """Registers of one memory management unit."""

    def __init__(self) -> None:
        """Start as after power-on."""
        self.reset()

    def reset(self) -> None:
        """Return to the state after power-on."""
        self.table = 0
        """Physical address of the directory."""
        self._entry = 0
        self.fault_address = self._gating = self._raw = self._mask = 0
        self._status = _IDLE | _REPLAY_EMPTY

    @property
    def paging(self) -> bool:
        """Whether addresses are translated."""
        return bool(self._status & _PAGING)

    @property
    def interrupt(self) -> bool:
        """Whether its interrupt is pending and wanted."""
        return bool(self._raw & self._mask)

    def read(self, offset: int) -> int:
        """Return a register."""
        values = {
            DTE_ADDRESS: self._entry,
            STATUS: self._status,
            FAULT_ADDRESS: self.fault_address,
            INTERRUPT_RAW: self._raw,
            INTERRUPT_MASK: self._mask,
            INTERRUPT_STATUS: self._raw & self._mask,
            AUTO_GATING: self._gating,
        }
        return values.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register. Nothing is cached, so zapping a line has nothing to do."""
        if offset == DTE_ADDRESS:
            self._entry, self.table = value, int(_physical(np.array([value], np.uint32))[0])
        elif offset == COMMAND:
            self._command(value)
        elif offset == INTERRUPT_CLEAR:
            self._raw &= ~value
        elif offset == INTERRUPT_MASK:
            self._mask = value
        elif offset == AUTO_GATING:
            self._gating = value

    def _command(self, command: int) -> None:
        bits = {_ENABLE_PAGING: _PAGING, _STALL: _STALLED}
        cleared = {_DISABLE_PAGING: _PAGING, _UNSTALL: _STALLED, _FAULT_DONE: _FAULT_ACTIVE | _FAULT_WRITE}
        self._status = self._status & ~cleared.get(command, 0) | bits.get(command, 0)
        if command == _FORCE_RESET:
            self.reset()

    def fault(self, error: PageFaultError) -> None:
        """Stop at a page fault and ask for an interrupt."""
        self.fault_address = error.address
        self._status |= _FAULT_ACTIVE | (_FAULT_WRITE if error.write else 0)
        self._raw |= _INTERRUPT_PAGE_FAULT


def _physical(entries: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """Return the addresses in directory or page entries: bits 4..7 are 36..39, bits 8..11 are 32..35."""
    wide = entries.astype(np.uint64)
    low, middle, high = (wide & np.uint64(mask) for mask in (0xFFFFF000, 0xF00, 0xF0))
    address: npt.NDArray[np.uint64] = low | middle << np.uint64(24) | high << np.uint64(32)
    return address


_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_SHARED, _PRIVATE, _FIXED, _ANONYMOUS, _NO_RESERVE = 0x01, 0x02, 0x10, 0x20, 0x4000
_NO_ACCESS, _ACCESS = 0, 3
_SPACE = 1 << 32


class TranslatedMemory(Memory):
    """Guest memory through the page tables: every page is mapped once more, at its device address, in one window.

    The simulator's arrays therefore are the guest's memory; nothing is copied, in or out.
    """

    def __init__(self) -> None:
        """Reserve 4 GiB of addresses, no memory."""
        super().__init__()
        self._base = int(_LIBC.mmap(None, _SPACE, _NO_ACCESS, _PRIVATE | _ANONYMOUS | _NO_RESERVE, -1, 0))
        if self._base == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "no 4 GiB of addresses")
        self._seen: tuple[int, bytes, bytes] | None = None

    def refresh(self, iommu: Iommu, guest: GuestMemory) -> None:
        """Follow the tables as they are now.

        Raises:
            PageFaultError: paging is off, so that every access would go astray.
            NoMemoryError: a table or page lies outside the guest's RAM.
            OSError: too many pieces to map (the kernel's limit is 65,530).
        """
        if not iommu.paging:
            raise PageFaultError(0, write=False)
        directory = guest.words(iommu.table, _TABLE_ENTRIES)
        live = np.flatnonzero(directory & _PRESENT)
        tables = [guest.words(int(address), _TABLE_ENTRIES) for address in _physical(directory[live])]
        entries = np.concatenate(tables) if tables else np.empty(0, np.uint32)
        seen = (iommu.table, live.tobytes(), entries.tobytes())
        if seen == self._seen:
            return
        self._seen = seen
        self._clear()
        numbers = np.arange(_TABLE_ENTRIES, dtype=np.uint64) * np.uint64(PAGE)
        addresses = (live.astype(np.uint64)[:, None] << np.uint64(_TABLE_SHIFT) | numbers[None]).ravel()
        mapped = entries & _READ_WRITE == _READ_WRITE
        self._map_pages(addresses[mapped], _physical(entries[mapped]), guest)

    def close(self) -> None:
        """Give the addresses back. No view of the memory may be used afterwards."""
        for start in list(self._starts):
            self.unmap(start)
        if self._base:
            _LIBC.munmap(self._base, _SPACE)
        self._base = 0

    def _clear(self) -> None:
        flags = _PRIVATE | _ANONYMOUS | _NO_RESERVE | _FIXED
        _LIBC.mmap(self._base, _SPACE, _NO_ACCESS, flags, -1, 0)
        for start in list(self._starts):
            self.unmap(start)

    def _map_pages(
        self, addresses: npt.NDArray[np.uint64], physical: npt.NDArray[np.uint64], guest: GuestMemory
    ) -> None:
        apart = np.diff(addresses) != PAGE
        for first, last in _runs(apart | (np.diff(physical) != PAGE), len(addresses)):
            size = (last - first) * PAGE
            place = guest.place(int(physical[first]), size)
            target = self._base + int(addresses[first])
            if _LIBC.mmap(target, size, _ACCESS, _SHARED | _FIXED, place.descriptor, place.offset) != target:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        for first, last in _runs(apart, len(addresses)):
            start, size = int(addresses[first]), (last - first) * PAGE
            self.map(start, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self._base + start)))

    def view(
        self,
        address: int,
        shape: Sequence[int],
        strides: Sequence[int] | None = None,
        *,
        unit: str,
        register: str,
        dtype: npt.DTypeLike = np.uint8,
        write: bool = False,
    ) -> Array:
        """View memory as :meth:`Memory.view` does.

        Raises:
            PageFaultError: a page that the view touches is not mapped.
        """
        try:
            return super().view(address, shape, strides, unit=unit, register=register, dtype=dtype, write=write)
        except SimulationError:
            low, high = _reach(address, shape, strides, np.dtype(dtype).itemsize)
            for page in range(low & -PAGE, high, PAGE):
                if self.find(max(page, low), min(page + PAGE, high)) is None:
                    raise PageFaultError(max(page, low) % _SPACE, write) from None
            raise


def _runs(cuts: npt.NDArray[np.bool_], count: int) -> list[tuple[int, int]]:
    """Return ranges (first, one behind the last) of ``count`` items that are cut behind the marked ones."""
    places = [0, *(np.flatnonzero(cuts) + 1).tolist(), count]
    return list(pairwise(places)) if count else []


def _reach(address: int, shape: Sequence[int], strides: Sequence[int] | None, itemsize: int) -> tuple[int, int]:
    if strides is None:
        return address, address + int(np.prod(shape)) * itemsize
    steps = [(count - 1) * stride for count, stride in zip(shape, strides, strict=True)]
    return address + sum(min(step, 0) for step in steps), address + sum(max(step, 0) for step in steps) + itemsize
