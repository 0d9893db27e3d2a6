"""The house's own rules: no circle of files, small files, small rooms."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import rocketnpu

SOURCE = Path(rocketnpu.__file__).parent
GENERATED = SOURCE / "third_party"
LINES, FILES = 400, 20


def test_no_circle_of_files() -> None:
    grimp = pytest.importorskip("grimp", reason="import-linter is not installed (pip install import-linter)")
    graph = grimp.build_graph("rocketnpu", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 200
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"these files import each other: {' <- '.join(error.args[1])}")


def test_files_are_small() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py") if GENERATED not in path.parents}
    assert {str(path): size for path, size in sizes.items() if size > LINES} == {}


def test_rooms_are_small() -> None:
    rooms = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in SOURCE.rglob("*.py")}}
    assert {str(room): count for room, count in rooms.items() if count > FILES} == {}


def test_simulators_import_nothing_by_a_string() -> None:
    """The contracts of import-linter see import statements only."""
    for path in (
        path for family in ("rockchip", "verisilicon") for path in (SOURCE / family / "simulator").rglob("*.py")
    ):
        called = {getattr(node.func, "id", getattr(node.func, "attr", "")) for node in _calls(path)}
        assert not called & {"import_module", "__import__"}, path


def _calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


MUTABLE = {
    "device.kernel": {"Owned"},
    "rockchip.lowering.context": {"Context"},
    "rockchip.simulator.units.dpu_stages": {"Pipeline"},
    "rockchip.simulator.units.weights": {"StoredWeights"},
    "verisilicon.lowering.context": {"Context"},
    "verisilicon.simulator.npu": {"StreamReport"},
}
"""Dataclasses that are no values: one compilation, one run, a buffer in use."""


def dataclasses_of(room: str) -> Iterator[tuple[str, str, type]]:
    """Yield module, name and class of all dataclasses that a room defines."""
    for path in sorted((SOURCE / room.replace(".", "/")).rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        module = importlib.import_module(f"rocketnpu.{name}")
        for key, kind in vars(module).items():
            if isinstance(kind, type) and kind.__module__ == module.__name__ and dataclasses.is_dataclass(kind):
                yield name, key, kind


def test_values_are_frozen() -> None:
    rooms = ("graph", "partition", "program", "device")
    families = ("rockchip", "verisilicon")
    rooms += tuple(
        f"{family}.{room}" for family in families for room in ("lowering", "tasks", "emission", "rules", "simulator")
    )
    counted = 0
    for name, key, kind in (found for room in rooms for found in dataclasses_of(room)):
        counted += 1
        frozen = kind.__dataclass_params__.frozen
        assert frozen != (key in MUTABLE.get(name, ())), f"{name}.{key}"
    assert counted > 60


@pytest.mark.parametrize("room", ["simulator", "emission", "tasks"])
def test_what_is_made_by_thousands_has_slots(room: str) -> None:
    """Of tasks those that compare by value; layers, which hold arrays, are few."""
    found = list(dataclasses_of(f"rockchip.{room}"))
    assert found
    for name, key, kind in found:
        wanted = room != "tasks" or kind.__dataclass_params__.eq
        assert ("__slots__" in vars(kind)) == wanted, f"{name}.{key}"
