"""The user's folders: one place that says where caches and configuration lie.

``ROCKETNPU_CACHE`` and ``ROCKETNPU_CONFIG`` come first; else the system's usual places hold (on Linux the XDG base
directory specification, which says to ignore relative paths in its variables).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

from rocketnpu.errors import InputError

NAME = "rocketnpu"


def cache_folder() -> Path:
    """Return the folder of everything that can be made again: models, programs, compiled libraries.

    Raises:
        InputError: no variable names one and the user has no home.
    """
    return _folder("ROCKETNPU_CACHE", "cache", platformdirs.user_cache_path)


def config_folder() -> Path:
    """Return the folder of what cannot be made again, such as the records of a board's self-test.

    Raises:
        InputError: no variable names one and the user has no home.
    """
    return _folder("ROCKETNPU_CONFIG", "config", platformdirs.user_config_path)


def _folder(variable: str, kind: str, usual: Callable[[str], Path]) -> Path:
    named = os.environ.get(variable)
    try:
        if named:
            return Path(named).expanduser().absolute()
        found = usual(NAME)
        # A relative path came out of an XDG variable, which the library obeys, or there is no home.
        return found if found.is_absolute() else Path.home() / f".{kind}" / NAME
    except RuntimeError:
        raise InputError(f"there is no place for a {kind}: no home folder; set {variable} to a folder") from None
