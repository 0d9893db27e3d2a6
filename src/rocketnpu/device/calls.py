"""The system calls that a kernel driver is reached by, behind one object, so that a test can stand in for the kernel.

:class:`SystemCalls` uses the C library of this process: a library that is preloaded (``rocketnpu emulate``) is seen.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Protocol

SHIM = "ROCKETNPU_NODE_SOCKET"
"""Variable that is set in every program that meets an emulated node."""
_MAP_FAILED = ctypes.c_void_p(-1).value
_PROT_READ_WRITE = 3
_MAP_SHARED = 1


class Calls(Protocol):
    """What a driver needs from the kernel. Each call raises OSError with the kernel's error number."""

    def open(self, path: str) -> int:
        """Open a device node for reading and writing; close-on-exec."""

    def close(self, fd: int) -> None:
        """Close it."""

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        """Do an ioctl on a structure, which is changed in place."""

    def map(self, fd: int, offset: int, size: int) -> int:
        """Map shared memory, readable and writable; return its address in this process."""

    def unmap(self, address: int, size: int) -> None:
        """End a mapping."""


def is_emulated(calls: Calls) -> bool:
    """Say whether nodes behind these calls are emulated ones: a test's, or those of ``rocketnpu emulate``."""
    return not isinstance(calls, SystemCalls) or SHIM in os.environ


class SystemCalls:
    """The calls of the C library, or of a shared library that offers the same names (``library``)."""

    def __init__(self, library: str | None = None) -> None:
        """Bind the functions.

        Raises:
            OSError: the library cannot be loaded.
        """
        source = ctypes.CDLL(library, use_errno=True)
        whole = ctypes.CDLL(None, use_errno=True)
        size, offset, pointer = ctypes.c_size_t, ctypes.c_int64, ctypes.c_void_p
        self._open = _bind(source.open, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
        self._ioctl = _bind(source.ioctl, ctypes.c_int, ctypes.c_int, ctypes.c_ulong, pointer)
        self._mmap = _bind(source.mmap64, pointer, pointer, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, offset)
        self._munmap = _bind(whole.munmap, ctypes.c_int, pointer, size)

    def open(self, path: str) -> int:
        """See :class:`Calls`."""
        fd: int = self._open(os.fsencode(path), os.O_RDWR | os.O_CLOEXEC)
        if fd < 0:
            raise _error(path)
        return fd

    def close(self, fd: int) -> None:
        """See :class:`Calls`."""
        os.close(fd)

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        """See :class:`Calls`."""
        if self._ioctl(fd, request, ctypes.addressof(argument)) < 0:
            raise _error()

    def map(self, fd: int, offset: int, size: int) -> int:
        """See :class:`Calls`."""
        address: int | None = self._mmap(None, size, _PROT_READ_WRITE, _MAP_SHARED, fd, offset)
        if address is None or address == _MAP_FAILED:
            raise _error()
        return address

    def unmap(self, address: int, size: int) -> None:
        """See :class:`Calls`."""
        if self._munmap(address, size) < 0:
            raise _error()


def _bind(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype, function.argtypes = result, arguments
    return function


def _error(path: str | None = None) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), path) if path else OSError(code, os.strerror(code))
