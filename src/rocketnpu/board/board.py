"""A board ready to start: everything fetched and built, and one call that runs a command on it."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rocketnpu.board.delegate_library import delegate_library
from rocketnpu.board.kernel import Kernel, kernel
from rocketnpu.board.machine import Hardware, Machine, Outcome, Settings
from rocketnpu.board.project import FOLDER, project
from rocketnpu.board.stages import Stages
from rocketnpu.board.tools import Tools, tools
from rocketnpu.board.userland import WHEELS, root_image
from rocketnpu.folders import cache_folder

_ENVIRONMENT = {
    "PATH": "/usr/bin:/payload",
    "HOME": "/root",
    "TERM": "dumb",
    "PYTHONPATH": f"/payload/{FOLDER}:/{WHEELS}",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Board:
    """Kernel, tools, userland, this project and its delegate's library, in the user's cache."""

    tools: Tools
    kernel: Kernel
    root_image: Path
    project: Path
    delegate: Path

    @classmethod
    def prepare(cls, folder: Path | None = None) -> Board:
        """Fetch and build what the cache does not hold; see :class:`~rocketnpu.board.stages.Stages`.

        Args:
            folder: of the cache; ``board`` in this project's where not given.

        Raises:
            BoardUnavailableError: this machine cannot make it; the message says what it lacks.
        """
        with Stages(folder or cache_folder() / "board") as stages:
            programs = tools(stages)
            core = kernel(stages)
            image = root_image(stages, programs, core.busybox)
            return cls(programs, core, image, project(stages, programs), delegate_library(stages))

    def run(self, hardware: Hardware, settings: Settings, work: Work) -> Outcome:
        """Boot, run a command, switch off.

        Raises:
            DeviceError: the machine failed or did not end in time.
        """
        machine = Machine(self.tools, self.kernel, self.root_image, hardware, settings)
        payload: dict[str, bytes | Path] = {
            "run": work.script().encode(),
            self.delegate.name: self.delegate,
            **work.files,
        }
        if work.interactive:
            payload["interactive"] = b""
        # Sockets have short paths, so that this folder lies where temporary files do.
        with tempfile.TemporaryDirectory(prefix="rocketnpu-board-") as folder:
            return machine.run(payload, {FOLDER: self.project}, work.out, Path(folder), terminal=work.terminal)


@dataclass(frozen=True)
class Work:
    """What a board is started for."""

    command: Sequence[str]
    out: Path
    """Folder that the guest sees as ``/out``, and may write to."""
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    """What the guest finds below ``/payload``; files are executable."""
    environment: Mapping[str, str] = field(default_factory=dict)
    interactive: bool = False
    terminal: Sequence[str] = ()
    """QEMU's options for the terminal; see :meth:`~rocketnpu.board.machine.Machine.run`."""

    def script(self) -> str:
        """Return the program that the guest starts."""
        variables = " ".join(
            f"{name}={shlex.quote(value)}" for name, value in (_ENVIRONMENT | dict(self.environment)).items()
        )
        return f"#!/bin/sh\ncd /out\nexec env -i {variables} {shlex.join(self.command)}\n"
