"""Which Debian archives this machine's apt already uses, read from its own lists (both of apt's formats)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rocketnpu.files.limits import SYSTEM_BYTES
from rocketnpu.files.reading import read_text

APT_FOLDER = Path("/etc/apt")

_SUITES = re.compile(
    r"(buster|bullseye|bookworm|trixie|forky|duke|sid|(old)*stable|testing|unstable)(-updates|-backports)?$"
)
_ONE_LINE = re.compile(r"deb(?:-src)?\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<rest>.+)$")
_OPTION = re.compile(r"(?P<name>[\w-]+)\+?=(?P<value>\S+)")
_KEPT_OPTIONS = ("Signed-By", "Trusted", "Check-Valid-Until", "Check-Date", "Allow-Insecure")
_KEYRING = "debian-archive"


@dataclass(frozen=True)
class AptArchive:
    """An archive's address with those of its options that say how it is trusted (deb822 names, verbatim values)."""

    uri: str
    options: tuple[tuple[str, str], ...] = ()

    def stanza(self, suite: str, kind: str = "deb-src") -> str:
        """Return apt's entry for ``suite`` (component main) in this archive; ``kind`` is "deb" or "deb-src"."""
        fields = (("Types", kind), ("URIs", self.uri), ("Suites", suite), ("Components", "main"), *self.options)
        return "".join(f"{name}: {value}\n" for name, value in fields)

    @property
    def rank(self) -> int:
        """How surely this is Debian's main archive: 0 by its keyring, 1 by its path, 2 by its suite only."""
        if _KEYRING in dict(self.options).get("Signed-By", ""):
            return 0
        return 1 if _last_part(self.uri) == "debian" else 2


def debian_archives(folder: Path = APT_FOLDER) -> tuple[AptArchive, ...]:
    """Return the archives that may hold Debian's main component, likeliest first, each address once."""
    archives: dict[str, AptArchive] = {}
    for fields in _entries(folder):
        options = tuple((name, fields[name.lower()]) for name in _KEPT_OPTIONS if fields.get(name.lower()))
        for uri in fields.get("uris", "").split():
            if _may_be_debian(uri, fields):
                archives.setdefault(uri.rstrip("/"), AptArchive(uri, options))
    return tuple(sorted(archives.values(), key=lambda archive: archive.rank))


def _entries(folder: Path) -> Iterator[Mapping[str, str]]:
    parts = folder / "sources.list.d"
    for path in (folder / "sources.list", *sorted(parts.glob("*.list"))):
        yield from _one_line_entries(_read(path))
    for path in sorted(parts.glob("*.sources")):
        yield from _stanzas(_read(path))


def _read(path: Path) -> str:
    return read_text(path, SYSTEM_BYTES)  # lists that only root may read (they can hold passwords) are left out


def _one_line_entries(text: str) -> Iterator[Mapping[str, str]]:
    for line in text.splitlines():
        match = _ONE_LINE.match(line.partition("#")[0].strip())
        if match:
            found = _OPTION.finditer(match["options"] or "")
            options = {option["name"].lower(): option["value"] for option in found}
            yield options | {"uris": match["uri"], "suites": match["suite"], "components": match["rest"]}


def _stanzas(text: str) -> Iterator[Mapping[str, str]]:
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n[ \t]*\n", lines):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t"):
                fields[name] = f"{fields.get(name, '')}\n{line.rstrip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields.get("enabled", "yes").lower() not in ("no", "false", "0", "off", "without", "disable"):
            yield fields


def _may_be_debian(uri: str, fields: Mapping[str, str]) -> bool:
    if uri.startswith("cdrom:") or "main" not in fields.get("components", "").split():
        return False
    suites = fields.get("suites", "").split()
    return any(_SUITES.match(suite) for suite in suites) or (
        _last_part(uri) == "debian" and not any("security" in suite for suite in suites)
    )


def _last_part(uri: str) -> str:
    return urlsplit(uri).path.rstrip("/").rpartition("/")[2]
