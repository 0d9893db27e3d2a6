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
    with as_file(files(build.DELEGATE.package)) as package:
        sources = sorted(path for path in package.iterdir() if path.suffix in (".c", ".h"))

        def make(folder: Path) -> None:
            tree = stages.build_tree
            place = tree.root / "delegate"
            place.mkdir()
            for source in sources:
                shutil.copy(source, place)
            (place / "environment.h").write_text(definitions, "utf-8")
            inside = Path("/delegate")
            names = ("environment.h", build.DELEGATE.source, build.NAME)
            tree.run([f"{build_tree.CROSS}gcc", *build.arguments(*(inside / name for name in names))])
            shutil.copy(place / build.NAME, folder)

        key = digest([Path(__file__), Path(build_tree.__file__), definitions.encode(), *sources])
        return stages.get("delegate", key, make) / build.NAME
