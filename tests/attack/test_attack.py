"""A seeded part of the attack, and the cases that it found."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import hostile_models
import hostile_networks
import hostile_recordings
import pytest

CASES = int(os.environ.get("ROCKETNPU_TEST_CASES", "12")) * 12
"""Of models; a long search runs ``attack.py``."""


def test_damaged_models_are_refused_or_as_stated() -> None:
    found = Counter(hostile_models.outcome(hostile_models.mutated(seed), seed) for seed in range(CASES))
    assert found["refused"] > CASES // 3, found
    assert found["as stated"] > 0, found


@pytest.mark.parametrize("seed", [7045, 14235, 108310, 125554])
def test_models_that_gave_tracebacks(seed: int) -> None:
    """Indices for more dimensions than a tensor has; a slope and a limit that are no numbers; an unread part."""
    assert hostile_models.outcome(hostile_models.mutated(seed), seed) in {"refused", "on the cpu"}


@pytest.mark.parametrize("seed", [108365, 123555, 155955])
def test_models_that_gave_other_answers(seed: int) -> None:
    """Zero points of INT8 weights, which LiteRT ignores; slopes of 4 bits, which it takes for bytes."""
    assert hostile_models.outcome(hostile_models.mutated(seed), seed) == "on the cpu"


def test_damaged_recordings_are_refused_or_replayed(tmp_path: Path) -> None:
    found: Counter[str] = Counter()
    for seed in range(CASES // 3):
        path = tmp_path / "recording.zip"
        path.write_bytes(hostile_recordings.mutated(seed))
        found[hostile_recordings.outcome(path)] += 1
    assert found["refused"] > 0, found
    assert found["replayed"] > 0, found


@pytest.mark.parametrize("seed", [5153, 21437, 30042])
def test_recordings_that_gave_tracebacks(seed: int, tmp_path: Path) -> None:
    """A stride of 0, an element type that there is not, a size that is true."""
    path = tmp_path / "recording.zip"
    path.write_bytes(hostile_recordings.mutated(seed))
    assert hostile_recordings.outcome(path) in {"refused", "replayed"}


@pytest.mark.parametrize("kind", ["", "_onnx"])
def test_damaged_networks_are_refused_or_as_stated(kind: str) -> None:
    made, outcome = (getattr(hostile_networks, name + kind) for name in ("mutated", "outcome"))
    found = Counter(outcome(made(seed), seed) for seed in range(3_000_000, 3_000_000 + CASES // 4))
    assert found["refused"] > 0, found
    assert found["as stated"] > 0, found
