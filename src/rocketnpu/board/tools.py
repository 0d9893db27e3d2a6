"""Programs of Debian's newest suite, run without installing them: from an unpacked tree, by that tree's own loader."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rocketnpu.board.packages import call, unpack
from rocketnpu.board.stages import Stages, digest

_PACKAGES = ("qemu-system-arm", "device-tree-compiler", "squashfs-tools", "python3.13-minimal", "libpython3.13-stdlib")
_PROGRAMS = ("qemu-system-aarch64", "dtc", "mksquashfs", "python3.13")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_PYTHON = "usr/lib/python3.13"
_UNUSED = ("systemd", "gconv")
"""Folders of libraries that nobody loads here."""


@dataclass(frozen=True)
class Tools:
    """An unpacked tree of programs."""

    root: Path

    def command(self, name: str, *arguments: object) -> list[str]:
        """Return the command line that runs a program of the tree."""
        libraries = self.root / _LIBRARIES
        loader = [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)]
        return [*loader, str(self.root / "usr/bin" / name), *map(str, arguments)]

    def run(self, name: str, *arguments: object, environment: dict[str, str] | None = None) -> str:
        """Run a program of the tree to its end and return its output.

        Raises:
            BoardUnavailableError: it failed.
        """
        return call(self.command(name, *arguments), environment)


def tools(stages: Stages) -> Tools:
    """Return QEMU and the programs that prepare its images, fetched where they are not in the cache."""

    def make(folder: Path) -> None:
        whole = folder.parent / "whole"
        unpack(stages.packages.closure(_PACKAGES), whole)
        for name in _UNUSED:
            shutil.rmtree(whole / _LIBRARIES / name)
        for name in (*(f"usr/bin/{program}" for program in _PROGRAMS), _LIBRARIES, _PYTHON):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (whole / name).rename(folder / name)

    return Tools(stages.get("tools", digest([Path(__file__)]), make))
