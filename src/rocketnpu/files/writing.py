"""Write a user's files: all of it or nothing, to where a link leads, and through what is no regular file."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rocketnpu.errors import RocketError
from rocketnpu.files.reading import kind_of

_LIVE = ("/dev/", "/proc/")
"""Where a name is an open file rather than a place in a folder: written through, as in ``-o /dev/stdout``."""
_NEW_MODE, _NEW_PROGRAM_MODE = 0o666, 0o777


def write_file(path: str | Path, data: bytes, what: str, error: type[RocketError], *, executable: bool = False) -> None:
    """Write ``data`` to a path that the user named.

    A regular file is replaced as a whole and keeps its permissions; a link stays, and what it leads to is replaced;
    pipes and devices are written to. No folder is made.

    Args:
        path: where to write.
        data: all that the file holds afterwards.
        what: what is written, as in "program".
        error: what is raised.
        executable: whether a new file may be executed.

    Raises:
        RocketError: an ``error``: it may not be overwritten, is a folder, or the disk is full; what was there before is
            there still.
    """
    with replacing(path, what, error, executable=executable) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: str | Path, what: str, error: type[RocketError], *, executable: bool = False) -> Iterator[BinaryIO]:
    """Give a file for what cannot be written at once; it takes the place of ``path`` when the block ends well.

    Where the block fails nothing is left, and what was there before is there still. Pipes and devices are written to as
    the block writes. Arguments and permissions as for :func:`write_file`.

    Raises:
        RocketError: an ``error``, as for :func:`write_file`; also what the block raises of an OSError or a ValueError.
    """
    try:
        with _opened(Path(path), _NEW_PROGRAM_MODE if executable else _NEW_MODE) as file:
            yield file
    except (OSError, ValueError) as problem:
        reason = (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
        raise error(f"cannot write {what} {path}: {reason}") from None


def check_apart(path: str | Path, source: str | Path, what: str, error: type[RocketError]) -> None:
    """See that what is about to be written is not the file that it is made from, under whatever name.

    Raises:
        RocketError: an ``error``: it is, and would be lost.
    """
    with contextlib.suppress(OSError, ValueError):  # one of them is not there
        if Path(path).samefile(source):
            raise error(f"cannot write {what} {path}: it is {source} itself, which would be lost; give another name")


@contextlib.contextmanager
def _opened(path: Path, new_mode: int) -> Iterator[BinaryIO]:
    if str(path.absolute()).startswith(_LIVE):
        with path.open("wb") as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise FileNotFoundError(2, f"there is no folder {target.parent}") from None
        mode = stat.S_IFREG | new_mode & ~_umask()
    else:
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, f"it is {kind_of(mode)}")
        if not os.access(target, os.W_OK):
            raise PermissionError(13, "it may not be overwritten")
    with _fresh(target, stat.S_IMODE(mode)) if stat.S_ISREG(mode) else path.open("wb") as file:
        yield file


def write_atomically(target: Path, data: bytes, mode: int) -> None:
    """Replace a file so that others see either all of it or none of it.

    The temporary file beside it has a name that nobody can foresee, is made new, and is its owner's alone until it is
    complete.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    with _fresh(target, mode) as file:
        file.write(data)


@contextlib.contextmanager
def _fresh(target: Path, mode: int) -> Iterator[BinaryIO]:
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:16]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _umask() -> int:
    """Return the process's mask of permissions, which can only be read by setting it."""
    status = Path("/proc/self/status")
    with contextlib.suppress(OSError):
        for line in status.read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
