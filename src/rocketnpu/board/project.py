"""This project as the guest finds it: its modules compiled for the guest's Python."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from rocketnpu.board.stages import Stages, digest
from rocketnpu.board.tools import Tools
from rocketnpu.board.userland import compile_python

FOLDER = "python"
"""Where the project is in the payload."""


def project(stages: Stages, tools: Tools) -> Path:
    """Return a folder that holds the package, made again whenever a file of it has changed."""
    with as_file(files("rocketnpu")) as package:
        sources = sorted(
            path for path in package.rglob("*") if path.is_file() and path.suffix in (".py", ".c", ".h", ".json")
        )
        names = [str(path.relative_to(package)).encode() for path in sources]

        def make(folder: Path) -> None:
            for source in sources:
                target = folder / FOLDER / "rocketnpu" / source.relative_to(package)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
            compile_python(tools, folder / FOLDER)

        return stages.get("project", digest([Path(__file__), *names, *sources]), make) / FOLDER
