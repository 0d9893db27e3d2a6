"""Python's shared library, which programs that are not Python need to load a delegate; often a package of its own."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def advice(version: tuple[int, int] = sys.version_info[:2]) -> str:
    """Say how to get the shared library of a Python of this version."""
    package = f"libpython{version[0]}.{version[1]}"
    return f"on Debian and its children `apt-get install {package}`; a Python of your own is built with --enable-shared"


def shared_python() -> Path | None:
    """Find this Python's shared library.

    Returns:
        Its path; its mere name where this Python is built to have one that is not installed, so that the system's
        loader finds it once it is; None where this Python has none.
    """
    name = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" not in name:
        return None
    folders = [sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix, "lib")]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    places = [Path(folder, sub, name) for folder in folders if folder for sub in ("", multiarch or "")]
    return next((place for place in places if place.exists()), Path(name))


def shortcoming() -> str:
    """Say what a library that brings Python into a program lacks without it; empty where nothing is missing."""
    found = shared_python()
    if found is not None and found.exists():
        return ""
    return f"only Python programs can load it: Python's shared library is missing; {advice()}"
