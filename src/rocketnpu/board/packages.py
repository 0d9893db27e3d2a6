"""Debian packages as an ordinary user gets them: downloaded by a private apt, unpacked below a folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rocketnpu.errors import BoardUnavailableError, FetchError
from rocketnpu.zoo import apt_sources
from rocketnpu.zoo.debian import MAX_ARCHIVES, without_password
from rocketnpu.zoo.private_apt import PrivateApt
from rocketnpu.zoo.progress import Report, bar

SUITE = "sid"
"""The only suite with a QEMU and a kernel that are new enough (QEMU 10.1 for vfio-user, Linux 6.18 for rocket)."""
HOST, GUEST = "amd64", "arm64"

# Sid's signed lists end their validity within a week, which a mirror that lags behind does not keep.
_CONFIGURATION = f"""\
APT::Architecture "{HOST}";
APT::Architectures {{ "{HOST}"; "{GUEST}"; }};
APT::Install-Recommends "false";
Acquire::Check-Valid-Until "false";
"""


class DebianPackages:
    """Packages of :data:`SUITE` for this machine (the default) and the guest (``NAME:arm64``)."""

    def __init__(self, folder: Path) -> None:
        """Fetch the archive's lists into ``folder``, which must not be there yet.

        Raises:
            BoardUnavailableError: this machine has no apt for amd64, or none of its archives answers.
        """
        apt_get = shutil.which("apt-get")
        if apt_get is None or not shutil.which("dpkg-deb"):
            raise BoardUnavailableError(
                "there is no apt-get or no dpkg-deb here, and the board is made of Debian packages"
            )
        machine = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=False)
        if machine.stdout.strip() != HOST:
            raise BoardUnavailableError(f"the board's programs are those for {HOST}, and this machine is another")
        archives = apt_sources.debian_archives(apt_sources.APT_FOLDER)[:MAX_ARCHIVES]
        reasons = [] if archives else [f"apt's lists under {apt_sources.APT_FOLDER} name no Debian archive"]
        for number, archive in enumerate(archives):
            self._apt = PrivateApt(apt_get, folder / f"apt{number}", archive)
            try:
                self._apt.prepare(SUITE, "deb", _CONFIGURATION)
                with bar("Debian's list of packages", None) as report:
                    self._apt.run(["update"], self._apt.lists, report)
            except FetchError as error:
                reasons.append(without_password(f"{archive.uri}: {error}"))
            else:
                return
        raise BoardUnavailableError(f"Debian's packages cannot be had: {', '.join(reasons)}")

    def dependency(self, package: str, prefix: str) -> str:
        """Return the name of the package that ``package`` depends on and that begins with ``prefix``.

        Raises:
            BoardUnavailableError: there is none.
        """
        program = shutil.which("apt-cache") or "apt-cache"
        text = self._run(["depends", package], program)
        for line in text.splitlines():
            kind, _, name = line.strip().partition(": ")
            if kind == "Depends" and name.startswith(prefix):
                return name
        raise BoardUnavailableError(f"Debian's {package} depends on no {prefix}...; the board needs another recipe")

    def download(self, names: Iterable[str]) -> list[Path]:
        """Download exactly these packages and return their files.

        Raises:
            BoardUnavailableError: one cannot be had.
        """
        before = set(self._apt.downloads.iterdir())
        with bar("Debian's packages", None) as report:
            self._run(["download", *names], report=report)
        return sorted(set(self._apt.downloads.iterdir()) - before)

    def closure(self, names: Iterable[str]) -> list[Path]:
        """Download these packages and all that they depend on, and return the files of both.

        Raises:
            BoardUnavailableError: one cannot be had.
        """
        archives = self._apt.folder / "cache" / "archives"
        for path in archives.glob("*.deb"):
            path.unlink()
        with bar("Debian's packages", None) as report:
            self._run(["install", "--yes", "--download-only", "-o", "Debug::NoLocking=true", *names], report=report)
        return sorted(archives.glob("*.deb"))

    def _run(self, arguments: list[str], program: str = "", report: Report | None = None) -> str:
        try:
            return self._apt.run(arguments, self._apt.folder, report, program)
        except FetchError as error:
            raise BoardUnavailableError(f"Debian's packages cannot be had: {without_password(str(error))}") from None


def unpack(packages: Iterable[Path], folder: Path) -> None:
    """Unpack package files below ``folder``, base-files first, since it brings the links of /bin and /lib.

    Raises:
        BoardUnavailableError: one is damaged or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in sorted(packages, key=lambda path: (not path.name.startswith("base-files_"), path.name)):
        call(["dpkg-deb", "-x", str(package), str(folder)])


def call(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return its output.

    Raises:
        BoardUnavailableError: it failed; the message has the end of what it said.
    """
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise BoardUnavailableError(f"{' '.join(command)[-200:]}: {said[-600:] or f'status {done.returncode}'}")
    return done.stdout
