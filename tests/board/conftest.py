"""What the tests on a virtual board share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from board_run import MODELS, Run, start

from rocketnpu.board.board import Board
from rocketnpu.errors import BoardUnavailableError


@pytest.fixture(scope="session")
def ready() -> Board:
    """Everything a board needs; the test is skipped, with the reason, where it cannot be had."""
    try:
        return Board.prepare()
    except BoardUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def models(shared: Path) -> dict[str, Path]:
    return {name: shared / "models" / f"{name}.tflite" for name in MODELS}


@pytest.fixture(scope="module")
def counted(
    request: pytest.FixtureRequest,
    ready: Board,
    models: dict[str, Path],
    mobilenet_labels: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """A boot in which time is the guest's own, with the cases that the module lists."""
    names: tuple[str, ...] = request.module.CASES
    return start(ready, models, mobilenet_labels, tmp_path_factory.mktemp("counted"), names, counted=True)
