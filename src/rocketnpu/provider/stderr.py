"""A host's own libonnx, beside that of the package: what it complains of on standard error is held back and sifted."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

STDERR = 2
REGISTERED_TWICE = (b"Schema error: Trying to register schema", b"but it is already registered from file")
"""How libonnx begins a complaint, or goes on with it, where the same operators are registered a second time."""


_REGISTRY = "_ZN4onnx16OpSchemaRegistry3mapB5cxx11Ev"
"""``onnx::OpSchemaRegistry::map()``, which registers a library's operators when it is first called."""


def shared_onnx(maps: Path = Path("/proc/self/maps")) -> str | None:
    """Return the file of this process's own shared libonnx, as Debian's ONNX Runtime has it, or None without."""
    try:
        lines = maps.read_text(errors="replace").splitlines()
    except OSError:
        return None
    files = (line.split(maxsplit=5)[-1] for line in lines if "/libonnx.so" in line)
    return next(files, None)


def register_first(library: str) -> None:
    """Have a loaded libonnx register its operators now, if it has not yet; one that is built otherwise is left alone.

    It would do so when its host makes the first session, and complain then of those that the package registered.
    """
    with contextlib.suppress(OSError, AttributeError):
        function = getattr(ctypes.CDLL(library, mode=os.RTLD_NOLOAD | os.RTLD_LAZY), _REGISTRY)
        function.restype = ctypes.c_void_p
        function()


@contextlib.contextmanager
def sifted(dropped: tuple[bytes, ...]) -> Iterator[None]:
    """Hold back what anybody in this process writes on standard error meanwhile; all comes out at the end but lines
    that hold one of some texts, and empty lines behind these.

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
                kept = b"".join(_kept(held, dropped))
            with contextlib.suppress(OSError):
                os.write(STDERR, kept)
    finally:
        os.close(before)
        os.close(aside)


def _kept(lines: Iterable[bytes], dropped: tuple[bytes, ...]) -> Iterator[bytes]:
    silent = False
    for line in lines:
        silent = any(text in line for text in dropped) or (silent and line == b"\n")
        if not silent:
            yield line
