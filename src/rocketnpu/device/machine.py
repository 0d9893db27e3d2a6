"""A machine as it is looked at: files below one root folder, so that a test can lay out another one."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rocketnpu.device.calls import Calls, SystemCalls
from rocketnpu.files.limits import SYSTEM_BYTES
from rocketnpu.files.reading import read_text

State = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Fact:
    """One line of the report."""

    name: str
    state: State
    found: str
    advice: str = ""
    """What to do; empty where nothing needs to be done."""


class Machine:
    """Where facts are looked up."""

    def __init__(self, root: Path = Path("/"), release: str = "", calls: Calls | None = None) -> None:
        """Look below ``root``; ``release`` is the kernel's, this machine's where not given."""
        self.root, self.release, self.calls = root, release or platform.release(), calls or SystemCalls()

    def text(self, path: str) -> str:
        """Return a file's text, empty if it cannot be read."""
        return read_text(self.root / path, SYSTEM_BYTES).replace("\0", "\n").strip()
