"""The delegate's shared library for the guest, cross-compiled."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from rocketnpu.board import build_tree
from rocketnpu.board.project import FOLDER
from rocketnpu.board.stages import Stages, digest
from rocketnpu.board.userland import PYTHON, WHEELS
from rocketnpu.delegate import build

_GUEST = build.Interpreter(
    f"/{PYTHON}",
    "/usr/lib/aarch64-linux-gnu/libpython3.13.so.1.0",
    "/usr/lib/python3.13/os.py",
    f"/payload/{FOLDER}/rocketnpu",
    (f"/payload/{FOLDER}", f"/{WHEELS}"),
    (3, 13),
)


def delegate_library(stages: Stages) -> Path:
    """Return the library, compiled where it is not in the cache."""
    definitions = build.definitions(_GUEST)
    folder_of = files("rocketnpu.delegate")
    with as_file(folder_of / "adapter.c") as source, as_file(folder_of / "python_host.h") as host:

        def make(folder: Path) -> None:
            tree = stages.build_tree
            place = tree.root / "delegate"
            place.mkdir()
            for file in (source, host):
                shutil.copy(file, place)
            (place / "environment.h").write_text(definitions, "utf-8")
            inside = Path("/delegate")
            arguments = build.arguments(inside / "environment.h", inside / source.name, inside / build.NAME)
            tree.run([f"{build_tree.CROSS}gcc", *arguments])
            shutil.copy(place / build.NAME, folder)

        key = digest([Path(__file__), Path(build.__file__), Path(build_tree.__file__), source, host])
        return stages.get("delegate", key, make) / build.NAME
