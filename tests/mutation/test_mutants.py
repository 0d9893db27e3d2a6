"""Which mutants are drawn, and what is known of the statements that they change."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray", reason="Cosmic Ray is not installed (pip install rocketnpu[mutants])")

import mutants

TEXT = """from dataclasses import dataclass

LIMIT = 3 + 4


@dataclass(frozen=True)
class Thing:
    size: int | None = 5

    def grown(self, by: int | None = 2) -> int:
        if (
            self.size == 1
            and by
        ):
            return 7
        return 8
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for room in mutants.ROOMS:
        (tmp_path / mutants.SOURCE / room).mkdir(parents=True)
    (tmp_path / mutants.SOURCE / "graph" / "thing.py").write_text(TEXT)
    return tmp_path


def test_a_seed_draws_the_same_mutants_and_none_of_annotations(clone: Path) -> None:
    first, again, other = (list(mutants.drawn(clone, 8, seed)) for seed in (1, 1, 2))
    assert first == again != other
    every = list(mutants.drawn(clone, 12, 3))
    assert len({(one.line, one.operator, one.occurrence) for one in every}) == 12
    for one in every:
        line = TEXT.splitlines()[one.line - 1]
        assert not (one.operator.startswith("core/ReplaceBinaryOperator_BitOr") and "int | None" in line)


@pytest.mark.parametrize(
    ("line", "lines", "imported"),
    [
        (3, (3, 3), True),
        (6, (6, 6), True),
        (8, (8, 8), True),
        (10, (10, 10), True),
        (12, (11, 14), False),
        (15, (15, 15), False),
    ],
)
def test_statements(line: int, lines: tuple[int, int], imported: bool) -> None:
    found, at_import = mutants._statement(TEXT, line)
    assert (found[0], found[-1], at_import) == (*lines, imported)


def test_annotations_are_where_they_stand() -> None:
    spans = mutants._annotations(ast.parse(TEXT))
    assert sorted(TEXT.splitlines()[first[0] - 1][first[1] : last[1]] for first, last in spans) == [
        "int",
        "int | None",
        "int | None",
    ]


@pytest.mark.parametrize(("line", "order"), [(3, "bdac"), (10, "bdac"), (15, "cba")])
def test_named_tests_come_first_but_for_what_is_imported(clone: Path, line: int, order: str) -> None:
    """Then those of the room and the house's rules, then the fastest.

    A process that a test starts imports the module, whatever it tests.
    """
    place = mutants.Workplace(clone, whole=False)
    nodes = {"a": "tests/graph/test_a.py::a", "b": "tests/graph/test_b.py::b", "c": "tests/test_c.py::c"}
    nodes["d"] = f"{mutants.HOUSE}::d"
    place.clone = clone
    (clone / "tests" / "graph").mkdir(parents=True)
    place._times = {nodes["a"]: (2.0, "passed"), nodes["b"]: (1.0, "passed"), nodes["c"]: (0.5, "passed")}
    place._times[nodes["d"]] = (1.5, "passed")
    name = str(mutants.SOURCE / "graph" / "thing.py")
    place._tests = {(name, line): {nodes["c"]}}
    tests, _ = place._order(mutants.Mutant(name, line, "", 0), TEXT)
    assert [node[-1] for node in tests] == list(order)
