"""What compiled code writes on standard error while it is loaded, held back and sifted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

STDERR = 2
REGISTERED_TWICE = (b"Schema error: Trying to register schema", b"but it is already registered from file")
"""How libonnx begins a complaint, or goes on with it, where the same operators are registered a second time."""


def has_shared_onnx(maps: Path = Path("/proc/self/maps")) -> bool:
    """Say whether this process has a shared libonnx of its own, as Debian's ONNX Runtime does."""
    try:
        return "/libonnx.so" in maps.read_text(errors="replace")
    except OSError:
        return False


@contextlib.contextmanager
def sifted(dropped: tuple[bytes, ...]) -> Iterator[None]:
    """Hold back what anybody in this process writes on standard error meanwhile; all comes out at the end but lines
    that hold one of some texts.

    Where standard error is closed, or cannot be turned aside, nothing is held back.
    """
    try:
        before, aside = os.dup(STDERR), os.memfd_create("stderr")
    except OSError:
        yield
        return
    try:
        os.dup2(aside, STDERR)
        try:
            yield
        finally:
            os.dup2(before, STDERR)
            os.lseek(aside, 0, os.SEEK_SET)
            with os.fdopen(os.dup(aside), "rb") as held:
                kept = [line for line in held if not any(text in line for text in dropped)]
            with contextlib.suppress(OSError):
                os.write(STDERR, b"".join(kept))
    finally:
        os.close(before)
        os.close(aside)
