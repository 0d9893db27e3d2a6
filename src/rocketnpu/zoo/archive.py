"""Take single files out of an archive that is not trusted.

Nothing is ever unpacked to a path that the archive names: a member is read into memory, bounded, and returned only if
its SHA-256 is one that the catalogue knows.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from rocketnpu.errors import FetchError
from rocketnpu.zoo.catalogue import Member, ModelFile

MAX_UNPACKED_BYTES = 4 << 30
"""How far into an unpacked archive is looked: a guard against archives made to fill memory or time."""

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError)


def extract(
    archive: Path, members: Sequence[Member], wanted: Sequence[ModelFile], max_bytes: int = MAX_UNPACKED_BYTES
) -> dict[str, bytes]:
    """Return the contents of those ``members`` that are ``wanted``, by :attr:`ModelFile.name`, all checked.

    Raises:
        FetchError: the archive is damaged or too large, or a wanted member is missing, too large, or another file.
    """
    files = {file.name: file for file in wanted}
    searched = {member.path: files[member.file] for member in members if member.file in files}
    try:
        is_zip = zipfile.is_zipfile(archive)
        found = _from_zip(archive, searched) if is_zip else _from_tar(archive, searched, max_bytes)
    except _DAMAGE as error:
        raise FetchError(f"the archive cannot be read: {error or type(error).__name__}") from None
    missing = sorted(path for path, file in searched.items() if file.name not in found)
    if missing:
        raise FetchError(f"the archive has no {' and no '.join(missing)}")
    return found


def _from_tar(archive: Path, searched: dict[str, ModelFile], max_bytes: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(archive, "r|*") as stream:
        for entry in stream:
            if entry.offset_data + entry.size > max_bytes:
                raise FetchError(f"the archive unpacks to more than {max_bytes} bytes")
            file = _match(entry.name, searched) if entry.isreg() else None
            if file is None or file.name in found:
                continue
            _check_size(entry.size, file)
            reader = stream.extractfile(entry)
            found[file.name] = _checked(reader.read(file.max_bytes) if reader else b"", file)
            if len(found) == len(searched):
                break
    return found


def _from_zip(archive: Path, searched: dict[str, ModelFile]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            file = None if entry.is_dir() else _match(entry.filename, searched)
            if file is None or file.name in found:
                continue
            _check_size(entry.file_size, file)
            with opened.open(entry) as reader:
                found[file.name] = _checked(reader.read(file.max_bytes), file)
    return found


def _match(name: str, searched: dict[str, ModelFile]) -> ModelFile | None:
    parts = PurePosixPath(name).parts
    for path, file in searched.items():
        tail = PurePosixPath(path).parts
        if parts[-len(tail) :] == tail:
            return file
    return None


def _check_size(size: int, file: ModelFile) -> None:
    if size > file.max_bytes:
        raise FetchError(f"its {file.name} has {size} bytes, expected at most {file.max_bytes}")


def _checked(data: bytes, file: ModelFile) -> bytes:
    if not file.accepts(data):
        raise FetchError(f"its {file.name} ({len(data)} bytes) has another SHA-256 than is known")
    return data
