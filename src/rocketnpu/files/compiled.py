"""C sources of this package as shared libraries: compiled on first use, kept in the user's cache under a hash."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from platform import machine

from rocketnpu.errors import DeviceError, InputError
from rocketnpu.folders import cache_folder, make_private

FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")


def compiled(source: Path, title: str, *, flags: Sequence[str] = (), compiler: str = "", key: bytes = b"") -> Path:
    """Return the path of a compiled library; it is compiled where the cache does not have it.

    Args:
        source: a file of C; others that it includes from its folder count as its source too.
        title: what it is, for messages.
        flags: for the compiler, besides :data:`FLAGS`; libraries to link (``-lm``) among them.
        compiler: the C compiler's command; ``CC`` of the environment, gcc or cc where not given.
        key: whatever else tells its libraries apart.

    Raises:
        DeviceError: there is no C compiler, or it fails, or there is no place for the library.
    """
    command = compiler or os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc") or "gcc"
    texts = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h")))]
    words = " ".join((machine(), command, *FLAGS, *flags)).encode()
    name = f"{source.stem}-{hashlib.sha256(b''.join((*texts, words, key))).hexdigest()[:16]}.so"
    target = _cache(title) / name
    if not target.exists():
        _compile([command, *FLAGS, str(source)], flags, title, target)
    return target


def _cache(title: str) -> Path:
    try:
        folder = cache_folder()
        make_private(folder)
    except InputError as error:
        raise DeviceError(str(error)) from None
    except OSError as error:
        raise DeviceError(f"cannot make {folder} for {title}: {error.strerror}") from None
    return folder


def _compile(command: Sequence[str], flags: Sequence[str], title: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder) / target.name
        try:
            done = subprocess.run(
                [*command, "-o", str(fresh), *flags],
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise DeviceError(
                f"{title} needs a C compiler, and there is no {command[0]!r}; install gcc, or set CC"
            ) from None
        if done.returncode:
            raise DeviceError(f"{command[0]} cannot compile {title}: {done.stderr.strip()[-400:]}")
        fresh.replace(target)
