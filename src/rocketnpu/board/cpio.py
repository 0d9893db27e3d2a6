"""Writing initial RAM file systems: cpio archives of the kernel's "newc" kind, owned by root.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

_MAGIC = "070701"
_ALIGNMENT = 4
_CONSOLE = (5, 1)
"""Device number of /dev/console, which the kernel opens before anything is mounted."""


def archive(files: Mapping[str, bytes | Path], folders: Mapping[str, Path]) -> bytes:
    """Return an archive of executable ``files`` and all that is in ``folders``, by name, and /dev/console.

    Raises:
        OSError: a file cannot be read.
    """
    entries: dict[str, tuple[int, bytes]] = {}
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.read_bytes()
        entries[name] = (stat.S_IFREG | 0o755, data)
    for name, folder in folders.items():
        entries[name] = (stat.S_IFDIR | 0o755, b"")
        entries |= {f"{name}/{inner}": entry for inner, entry in _contents(folder)}
    for name in list(entries):
        for parent in list(PurePosixPath(name).parents)[:-1]:
            entries.setdefault(str(parent), (stat.S_IFDIR | 0o755, b""))
    parts = [_record("dev", stat.S_IFDIR | 0o755, b"", 1)]
    parts.append(_record("dev/console", stat.S_IFCHR | 0o600, b"", 2, _CONSOLE))
    ordered = sorted(entries.items())  # a folder before what is in it
    parts += [_record(name, mode, data, number) for number, (name, (mode, data)) in enumerate(ordered, 3)]
    parts.append(_record("TRAILER!!!", 0, b"", 0))
    return b"".join(parts)


def _contents(folder: Path) -> Iterator[tuple[str, tuple[int, bytes]]]:
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        name = str(path.relative_to(folder))
        if stat.S_ISLNK(mode):
            yield name, (mode, os.fsencode(path.readlink()))
        elif stat.S_ISDIR(mode):
            yield name, (mode, b"")
        elif stat.S_ISREG(mode):
            yield name, (mode, path.read_bytes())


def _record(name: str, mode: int, data: bytes, inode: int, device: tuple[int, int] = (0, 0)) -> bytes:
    encoded = os.fsencode(name) + b"\0"
    numbers = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
    head = _MAGIC.encode() + b"".join(b"%08X" % number for number in numbers) + encoded
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
