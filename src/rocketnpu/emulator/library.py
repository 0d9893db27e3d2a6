"""The shim as a shared library: compiled on first use, kept in the user's cache under the hash of its source."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from platform import machine

from rocketnpu.errors import DeviceError, InputError
from rocketnpu.folders import cache_folder, make_private

SOURCE = Path(__file__).parent / "shim" / "shim.c"
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")


def shim_library(compiler: str = "") -> Path:
    """Return the path of the compiled shim.

    Args:
        compiler: the C compiler's command; ``CC`` of the environment, gcc or cc where not given.

    Raises:
        DeviceError: there is no C compiler, or it fails.
    """
    command = compiler or os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc") or "gcc"
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join((machine(), command, *FLAGS)).encode()).hexdigest()[:16]
    target = _cache() / f"shim-{key}.so"
    if not target.exists():
        _compile(command, target)
    return target


def _cache() -> Path:
    try:
        folder = cache_folder()
        make_private(folder)
    except InputError as error:
        raise DeviceError(str(error)) from None
    except OSError as error:
        raise DeviceError(f"cannot make {folder} for the emulated node's library: {error.strerror}") from None
    return folder


def _compile(command: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder) / target.name
        try:
            done = subprocess.run(
                [command, *FLAGS, "-o", str(fresh), str(SOURCE), "-ldl"], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise DeviceError(
                f"the emulated node needs a C compiler, and there is no {command!r}; install gcc, or set CC"
            ) from None
        if done.returncode:
            raise DeviceError(f"{command} cannot compile the emulated node's library: {done.stderr.strip()[-400:]}")
        fresh.replace(target)
