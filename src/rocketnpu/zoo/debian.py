"""Get files out of a Debian source package, through the apt that the machine already has.

Where apt finds Debian, and how it gets there (proxies, certificates, passwords), is the machine's own configuration.
Everything that apt writes goes to a temporary folder, so that neither root nor any change to the system is needed.
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
from rocketnpu.zoo import apt_sources
from rocketnpu.zoo.apt_sources import AptArchive
from rocketnpu.zoo.archive import extract
from rocketnpu.zoo.catalogue import DebianPackage, ModelFile
from rocketnpu.zoo.progress import Report, bar
from rocketnpu.zoo.temporary import temporary_folder

MAX_ARCHIVES = 3
"""How many of the machine's archives are tried."""
MAX_TAR_BYTES = 512 << 20
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
_URI_LINE = re.compile(r"^'[^']+' (?P<name>[\w.+~-]+\.orig\.tar\.\w+) (?P<size>\d+)", re.MULTILINE)
_ERROR = re.compile(r"^E: *(.+)$", re.MULTILINE)
_WARNING = re.compile(r"^W: *(.+)$", re.MULTILINE)
_PASSWORD = re.compile(r"//[^/@\s]+@")


def fetch(source: DebianPackage, wanted: Sequence[ModelFile]) -> dict[str, bytes]:
    """Return the wanted files that the package's upstream archive has, by name, all checked.

    Raises:
        FetchError: there is no apt-get, it knows no Debian archive, or none of them gave the files.
    """
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        raise FetchError("there is no apt-get on this machine")
    archives = apt_sources.debian_archives(apt_sources.APT_FOLDER)
    if not archives:
        raise FetchError(f"apt's lists under {apt_sources.APT_FOLDER} name no Debian archive")
    reasons = []
    for archive in archives[:MAX_ARCHIVES]:
        try:
            with temporary_folder() as folder:
                tar = _PrivateApt(apt_get, folder, archive).source_tar(source)
                return extract(tar, source.members, wanted)
        except FetchError as error:
            reasons.append(_PASSWORD.sub("//", f"{archive.uri}: {error}"))
        except OSError as error:
            reasons.append(f"{error.filename or 'apt-get'}: {error.strerror or error}")
    raise FetchError(", ".join(reasons))


@dataclass(frozen=True)
class _PrivateApt:
    """An apt whose whole state is in ``folder`` and whose only archive is ``archive``."""

    apt_get: str
    folder: Path
    archive: AptArchive

    def source_tar(self, source: DebianPackage) -> Path:
        """Fetch the package's upstream archive and return its path inside the folder."""
        self._prepare(source.suite)
        with bar("Debian's list of sources", None) as report:
            self._run(["update"], self.folder / "state" / "lists", report)
        package = ["source", "--download-only", "--tar-only", "--only-source", source.package]
        offer = _URI_LINE.search(self._run(["--print-uris", *package], self.folder / "download"))
        if offer is None:
            raise FetchError(f"apt-get names no upstream archive for {source.package}")
        name, size = offer["name"], int(offer["size"])
        if size > MAX_TAR_BYTES:
            raise FetchError(f"{name} has {size} bytes, expected at most {MAX_TAR_BYTES}")
        with bar(name, size) as report:
            self._run(package, self.folder / "download", report)
        tar = self.folder / "download" / name
        if not tar.is_file():
            raise FetchError(f"apt-get ended well, but left no {name}")
        return tar

    def _prepare(self, suite: str) -> None:
        for name in _FOLDERS:
            (self.folder / name).mkdir(parents=True)
        for name in _EMPTY_FILES:
            (self.folder / name).touch()
        sources = self.folder / "sources" / "debian.sources"
        sources.touch(mode=0o600)  # an address can hold a password
        sources.write_text(self.archive.stanza(suite), "utf-8")
        (self.folder / "apt.conf").write_text(_CONFIGURATION.format(folder=self.folder), "utf-8")
        if os.geteuid() == 0:
            self._admit_sandbox()

    def _admit_sandbox(self) -> None:
        """Let root's apt fetch as its unprivileged user, as it does in the system's own folders."""
        self.folder.chmod(0o711)
        try:
            shutil.chown(self.folder / "download", "_apt")
        except (LookupError, OSError):  # root of a namespace that has no other user to become
            with (self.folder / "apt.conf").open("a", encoding="utf-8") as configuration:
                configuration.write('APT::Sandbox::User "root";\n')

    def _run(self, arguments: Sequence[str], watched: Path, report: Report | None = None) -> str:
        """Run apt-get and return what it wrote to stdout; ``report`` is told the bytes in ``watched``.

        Raises:
            FetchError: apt-get failed or stalled.
        """
        command = [self.apt_get, "-q", "-c", str(self.folder / "apt.conf"), *arguments]
        streams = [self.folder / "log" / name for name in ("out", "err")]
        with streams[0].open("wb") as out, streams[1].open("wb") as err:
            process = subprocess.Popen(
                command,
                cwd=self.folder / "download",
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


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue  # apt renames its files while they arrive
    return total
