"""Hatchling's hook for the package's description: the README, whose links lead nowhere outside the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = re.compile(r"!?\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)[^)\s]*\)")


def described(readme: str) -> str:
    """Turn each link to a file of the repository into words that name the file, which the sources have."""

    def words(link: re.Match[str]) -> str:
        text, path = link.groups()
        return text if text == path else f"{text} (`{path}` in the sources)"

    return _RELATIVE.sub(words, readme)


class Readme(MetadataHookInterface):
    """Gives the package its description."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set ``readme``."""
        text = described(Path(self.root, "README.md").read_text(encoding="utf-8"))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}

    def get_known_classifiers(self) -> list[str]:
        """Name the classifiers that are younger than Debian 12's Hatchling, which would refuse them."""
        return [f"Programming Language :: Python :: 3.{minor}" for minor in (13, 14)]
