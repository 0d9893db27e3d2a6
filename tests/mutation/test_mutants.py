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
