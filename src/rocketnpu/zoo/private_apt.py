"""An apt of one's own: its whole state lies in a folder, so that it needs no root and changes nothing on the system.

Where apt finds Debian, and how it gets there (proxies, certificates, passwords), is the machine's own configuration.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rocketnpu.errors import FetchError
from rocketnpu.files.limits import DOWNLOAD_SECONDS
from rocketnpu.zoo.apt_sources import AptArchive
from rocketnpu.zoo.progress import Report

STALL_SECONDS = 120.0
"""apt-get is ended when nothing has arrived for so long."""
_POLL_SECONDS = 0.1

# Hooks and pins are cleared since they are about the system, which this apt does not touch.
_CONFIGURATION = """\
Dir::State "{folder}/state/";
Dir::State::lists "{folder}/state/lists/";
Dir::State::status "{folder}/state/status";
Dir::Cache "{folder}/cache/";
Dir::Cache::archives "{folder}/cache/archives/";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Log "{folder}/log/";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/sources/";
Dir::Etc::preferences "{folder}/preferences";
Dir::Etc::preferencesparts "{folder}/preferences.d/";
APT::Default-Release "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""
_FOLDERS = ("state/lists/partial", "cache/archives/partial", "log", "sources", "preferences.d", "download")
_EMPTY_FILES = ("state/status", "sources.list", "preferences")
_ERROR = re.compile(r"^E: *(.+)$", re.MULTILINE)
_WARNING = re.compile(r"^W: *(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class PrivateApt:
    """An apt whose whole state is in ``folder`` and whose only archive is ``archive``."""

    apt_get: str
    """Path of the program."""
    folder: Path
    archive: AptArchive

    @property
    def lists(self) -> Path:
        """Folder in which the archive's lists arrive."""
        return self.folder / "state" / "lists"

    @property
    def downloads(self) -> Path:
        """Folder in which apt-get runs, and where it leaves what it downloads."""
        return self.folder / "download"

    def prepare(self, suite: str, kind: str = "deb-src", configuration: str = "") -> None:
        """Make the folders of a new apt for ``suite``; ``kind`` is "deb" or "deb-src".

        Raises:
            OSError: a folder cannot be written, or is there already.
        """
        for name in _FOLDERS:
            (self.folder / name).mkdir(parents=True)
        for name in _EMPTY_FILES:
            (self.folder / name).touch()
        sources = self.folder / "sources" / "debian.sources"
        sources.touch(mode=0o600)  # an address can hold a password
        sources.write_text(self.archive.stanza(suite, kind), "utf-8")
        text = _CONFIGURATION.format(folder=self.folder) + configuration
        (self.folder / "apt.conf").write_text(text, "utf-8")
        if os.geteuid() == 0:
            self._admit_sandbox()

    def _admit_sandbox(self) -> None:
        """Let root's apt fetch as its unprivileged user, as it does in the system's own folders."""
        self.folder.chmod(0o711)
        try:
            shutil.chown(self.downloads, "_apt")
        except (LookupError, OSError):  # root of a namespace that has no other user to become
            with (self.folder / "apt.conf").open("a", encoding="utf-8") as configuration:
                configuration.write('APT::Sandbox::User "root";\n')

    def run(self, arguments: Sequence[str], watched: Path, report: Report | None = None, program: str = "") -> str:
        """Run apt-get, or ``program`` of apt, and return what it wrote to stdout.

        ``report`` is told the bytes below the folder ``watched``.

        Raises:
            FetchError: it failed or stalled.
        """
        command = [program or self.apt_get, "-q", "-c", str(self.folder / "apt.conf"), *arguments]
        streams = [self.folder / "log" / name for name in ("out", "err")]
        with streams[0].open("wb") as out, streams[1].open("wb") as err:
            process = subprocess.Popen(
                command,
                cwd=self.downloads,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=os.environ | {"LC_ALL": "C"},
            )
            try:
                _watch(process, watched, report)
            except BaseException:
                process.kill()
                process.wait()
                raise
        out_text, err_text = (stream.read_text("utf-8", errors="replace") for stream in streams)
        if process.returncode != 0:
            complaint = _ERROR.search(err_text) or _WARNING.search(err_text)
            raise FetchError(complaint[1] if complaint else f"apt-get ended with status {process.returncode}")
        return out_text


def _watch(process: subprocess.Popen[bytes], watched: Path, report: Report | None) -> None:
    seen, since = 0, time.monotonic()
    end = since + DOWNLOAD_SECONDS
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_SECONDS)
            return
        arrived = _bytes_below(watched)
        if arrived != seen:
            seen, since = arrived, time.monotonic()
            if report:
                report(arrived)
        elif time.monotonic() - since > STALL_SECONDS:
            raise FetchError(f"apt-get got nothing for {STALL_SECONDS:g} s")
        if time.monotonic() > end:
            raise FetchError(f"apt-get took more than {DOWNLOAD_SECONDS:g} s")


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue  # apt renames its files while they arrive
    return total
