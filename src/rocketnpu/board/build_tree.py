"""A tree with a compiler for the guest, and running it with the tree as its root, which needs no privilege."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rocketnpu.board.packages import DebianPackages, call, unpack
from rocketnpu.errors import BoardUnavailableError

CROSS = "aarch64-linux-gnu-"
"""Prefix of the compiler's programs."""
_PACKAGES = (
    *("base-files", "dash", "coreutils", "sed", "grep", "mawk", "findutils", "make", "perl-base"),
    *("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "libelf1t64", "libssl3t64"),
)
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private")
_ENVIRONMENT = ("/usr/bin/env", "-i", "PATH=/usr/bin", "HOME=/", "LC_ALL=C")
# An ordinary user's path need not have the folder of chroot.
_ENTER = """
PATH=$PATH:/usr/sbin:/sbin
mount --rbind /dev "$0/dev" && mount --rbind /proc "$0/proc" && exec chroot "$0" "$@"
"""


@dataclass(frozen=True)
class BuildTree:
    """A root folder with the programs in it."""

    root: Path
    entrance: tuple[str, ...]
    """Command that runs the command behind it with this root."""

    @classmethod
    def unpacked(cls, packages: DebianPackages, root: Path) -> Self:
        """Fetch the compiler and unpack it as ``root``.

        Raises:
            BoardUnavailableError: it cannot be had, or could not be run.
        """
        unpack(packages.closure(_PACKAGES), root)
        (root / "usr/bin/awk").symlink_to("mawk")
        for name in ("proc", "dev"):
            (root / name).mkdir(exist_ok=True)
        return cls(root, _entrance(root))

    def run(self, command: Sequence[str]) -> str:
        """Run a program of the tree, which sees nothing but the tree, and return its output.

        Raises:
            BoardUnavailableError: it failed.
        """
        return call([*self.entrance, *_ENVIRONMENT, *command])


def _entrance(root: Path) -> tuple[str, ...]:
    """Find a way in: a user namespace, or plainly where root has none, as in many containers."""
    inside = (*_NAMESPACE, "sh", "-c", _ENTER, str(root))
    if _works([*inside, "true"]):
        return inside
    plainly = (shutil.which("chroot") or "/usr/sbin/chroot", str(root))
    if os.geteuid() == 0:
        with suppress(OSError):
            os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        if (root / "dev/null").is_char_device() and _works([*plainly, "true"]):
            return plainly
    raise BoardUnavailableError(
        "the guest's programs are compiled in a user namespace (unshare -rm), which this machine does not allow"
    )


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
