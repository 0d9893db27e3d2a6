"""The compiled arithmetic as a library: built on first use where there is a C compiler, and loaded once a process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import cffi

from rocketnpu.errors import DeviceError
from rocketnpu.files.compiled import compiled

_SOURCE = Path(__file__).parent / "kernel.c"
_FLAGS = (
    *("-O3", "-march=native", "-fwrapv"),
    # Doubles hold integers and are rounded explicitly: nothing may be contracted, nothing is trapped.
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
    *("-include", "stdint.h", "-lm"),
)
PLAIN = "-DROCKETNPU_PLAIN"
"""Builds it without instructions of one kind of processor."""


class Kernel:
    """The loaded library.

    Args:
        flags: for the compiler, besides the usual ones.

    Raises:
        DeviceError: it cannot be built or loaded.
    """

    def __init__(self, *flags: str) -> None:
        path = compiled(_SOURCE, "the simulator's arithmetic", flags=(*flags, *_FLAGS), key=_processor())
        self.ffi: Any = cffi.FFI()
        self.ffi.cdef(_SOURCE.with_suffix(".h").read_text(encoding="ascii"))
        try:
            self._library: Any = self.ffi.dlopen(str(path))
        except OSError as error:
            raise DeviceError(f"cannot load the simulator's arithmetic: {error}") from None

    def fetch(self, fetch: Any) -> None:
        """Widen features to int16 and put the padding around them."""
        self._library.rocketnpu_fetch(fetch)

    def convolve(self, task: Any, start: int, stop: int) -> None:
        """Compute and store output rows ``start..stop-1``; other threads may compute others."""
        self._library.rocketnpu_convolve(task, start, stop)


@lru_cache(maxsize=1)
def find_kernel() -> Kernel | None:
    """Return the library, or None where it cannot be built: NumPy computes the same then."""
    try:
        return Kernel()
    except DeviceError:
        return None


def _processor() -> bytes:
    """Tell processors apart: a home folder may be shared by several, and a library is for one's instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return b""
    wanted = (b"flags", b"Features", b"model name", b"CPU part")
    return b"\n".join(sorted({line for line in lines if line.startswith(wanted)}))
