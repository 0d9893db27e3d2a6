"""The user's folders: one place that says where caches and configuration lie.

``ROCKETNPU_CACHE`` and ``ROCKETNPU_CONFIG`` come first; else the system's usual places hold (on Linux the XDG base
directory specification, which says to ignore relative paths in its variables).

What is found in a cache is run. So a folder is the user's alone, and a process that has more rights than its user (set
user or group id) uses none.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import platformdirs

from rocketnpu.errors import InputError

NAME = "rocketnpu"


def cache_folder() -> Path:
    """Return the folder of everything that can be made again: models, programs, compiled libraries.

    Raises:
        InputError: no variable names one and the user has no home, or the folder is not the user's alone.
    """
    return _folder("ROCKETNPU_CACHE", "cache", platformdirs.user_cache_path)


def config_folder() -> Path:
    """Return the folder of what cannot be made again, such as the records of a board's self-test.

    Raises:
        InputError: no variable names one and the user has no home, or the folder is not the user's alone.
    """
    return _folder("ROCKETNPU_CONFIG", "config", platformdirs.user_config_path)


def make_private(folder: Path) -> None:
    """Make a folder that only the user may enter, and those above it that are missing; or see that it is the user's.

    Raises:
        InputError: it is there and another's, or others may write to it.
        OSError: it cannot be made.
    """
    for missing in reversed([folder, *folder.parents]):
        if not missing.exists():
            with contextlib.suppress(FileExistsError):  # another process was faster
                missing.mkdir(_PRIVATE)
    check_private(folder)


def check_private(folder: Path) -> None:
    """See that a folder, where there is one, is the user's and nobody else may write to it.

    Raises:
        InputError: it is not, or this process has more rights than its user.
    """
    if (os.getuid(), os.getgid()) != (os.geteuid(), os.getegid()):
        raise InputError("a process with a set user or group id uses no folder of its user's")
    try:
        found = folder.stat()
    except (OSError, ValueError):
        return
    if found.st_uid != os.geteuid():
        raise InputError(f"folder {folder} belongs to another user (number {found.st_uid}); name another one")
    if found.st_mode & _OTHERS_WRITE:
        raise InputError(f"group or others may write to folder {folder}: take that away with `chmod go-w {folder}`")


_PRIVATE = 0o700
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def _folder(variable: str, kind: str, usual: Callable[[str], Path]) -> Path:
    found = _named(variable, kind, usual)
    check_private(found)
    return found


def _named(variable: str, kind: str, usual: Callable[[str], Path]) -> Path:
    named = os.environ.get(variable)
    try:
        if named:
            return Path(named).expanduser().absolute()
        found = usual(NAME)
        # A relative path came out of an XDG variable, which the library obeys, or there is no home.
        return found if found.is_absolute() else Path.home() / f".{kind}" / NAME
    except RuntimeError:
        raise InputError(f"there is no place for a {kind}: no home folder; set {variable} to a folder") from None
