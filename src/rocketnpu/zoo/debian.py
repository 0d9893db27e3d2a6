"""Get files out of a Debian source package, through the apt that the machine already has.

Everything that apt writes goes to a temporary folder (:mod:`rocketnpu.zoo.private_apt`).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from rocketnpu.errors import FetchError
from rocketnpu.zoo import apt_sources
from rocketnpu.zoo.archive import extract
from rocketnpu.zoo.catalogue import DebianPackage, ModelFile
from rocketnpu.zoo.private_apt import PrivateApt
from rocketnpu.zoo.progress import bar
from rocketnpu.zoo.temporary import temporary_folder

MAX_ARCHIVES = 3
"""How many of the machine's archives are tried."""
MAX_TAR_BYTES = 512 << 20
_URI_LINE = re.compile(r"^'[^']+' (?P<name>[\w.+~-]+\.orig\.tar\.\w+) (?P<size>\d+)", re.MULTILINE)
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
                tar = _source_tar(PrivateApt(apt_get, folder, archive), source)
                return extract(tar, source.members, wanted)
        except FetchError as error:
            reasons.append(without_password(f"{archive.uri}: {error}"))
        except OSError as error:
            reasons.append(f"{error.filename or 'apt-get'}: {error.strerror or error}")
    raise FetchError(", ".join(reasons))


def without_password(text: str) -> str:
    """Return ``text`` with the user names and passwords of addresses left out."""
    return _PASSWORD.sub("//", text)


def _source_tar(apt: PrivateApt, source: DebianPackage) -> Path:
    """Fetch the package's upstream archive and return its path inside apt's folder."""
    apt.prepare(source.suite)
    with bar("Debian's list of sources", None) as report:
        apt.run(["update"], apt.lists, report)
    package = ["source", "--download-only", "--tar-only", "--only-source", source.package]
    offer = _URI_LINE.search(apt.run(["--print-uris", *package], apt.downloads))
    if offer is None:
        raise FetchError(f"apt-get names no upstream archive for {source.package}")
    name, size = offer["name"], int(offer["size"])
    if size > MAX_TAR_BYTES:
        raise FetchError(f"{name} has {size} bytes, expected at most {MAX_TAR_BYTES}")
    with bar(name, size) as report:
        apt.run(package, apt.downloads, report)
    tar = apt.downloads / name
    if not tar.is_file():
        raise FetchError(f"apt-get ended well, but left no {name}")
    return tar
