"""What the command line does with an error that nobody foresaw: one line, and a file with all that is known."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence

from rocketnpu._version import __version__


def fault_line(error: BaseException, arguments: Sequence[str] | None) -> str:
    """Write the details of an unforeseen error to a private file and return the line to print."""
    text = " ".join(str(error).split())
    said = f"{type(error).__name__}{f': {text}' if text else ''}"
    path = ""
    with contextlib.suppress(OSError):
        path = _details(error, sys.argv[1:] if arguments is None else arguments)
    where = f", with the details in {path}" if path else ""
    return f"internal fault, {said:.300}; please report it{where}"


def _details(error: BaseException, arguments: Sequence[str]) -> str:
    """Write a file that only its owner may read: the arguments may name the user's own files."""
    handle, path = tempfile.mkstemp(prefix="rocketnpu-fault-", suffix=".txt")
    lines = [
        f"rocketnpu {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"arguments: {list(arguments)!r}",
        "".join(traceback.format_exception(error)),
    ]
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write("\n".join(lines))
    return path
