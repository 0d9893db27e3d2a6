"""The shim as a shared library: compiled on first use, kept in the user's cache under the hash of its source."""

from __future__ import annotations

from pathlib import Path

from rocketnpu.files.compiled import compiled

SOURCE = Path(__file__).parent / "shim" / "shim.c"


def shim_library(compiler: str = "") -> Path:
    """Return the path of the compiled shim.

    Args:
        compiler: the C compiler's command; ``CC`` of the environment, gcc or cc where not given.

    Raises:
        DeviceError: there is no C compiler, or it fails.
    """
    return compiled(SOURCE, "the emulated node's library", flags=("-ldl",), compiler=compiler)
