"""Tasks that take their time beside the guest: cores at once, closing, killing. Heavy as ``test_board_networks.py``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from board_run import Run, heavy, start

from rocketnpu.board.board import Board

pytestmark = heavy


@pytest.fixture(scope="session")
def posted(
    ready: Board, models: dict[str, Path], mobilenet_labels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Cases in which tasks run beside the guest and take their time. The last may cost the machine its life."""
    out = tmp_path_factory.mktemp("posted")
    return start(
        ready, models, mobilenet_labels, out, ("three", "closes", "guarded", "kills"), counted=False, delay=0.03
    )


def test_three_descriptors_use_three_cores_at_once(posted: Run) -> None:
    assert posted.check("three").count("9 of 9 equal") == 3
    spans = sorted((verdict.began, verdict.began + verdict.seconds, verdict.core) for verdict in posted.verdicts)
    most = max(len({core for began, ended, core in spans if began <= moment < ended}) for moment, _, _ in spans)
    assert most == 3


def test_a_guarded_process_may_be_killed(posted: Run) -> None:
    output = posted.check("guarded")
    assert output.count("guard on: not clean 0") == 6


def test_a_killed_process_meets_the_kernels_use_after_free(posted: Run, ready: Board) -> None:
    """The kernel frees what a dead process's last job still needs, which shows as "Memory manager not clean"."""
    print(posted.output("closes"))
    assert posted.status("closes") == 0, posted.output("closes")
    output = posted.output("kills")
    print(output)
    seen = any("Memory manager not clean" in line for line in posted.complaints("kills"))
    if not seen:
        pytest.skip(f"not seen in 12 kills: Linux {ready.kernel.version}")
    assert re.search(r"not clean [1-9]", output) or posted.outcome.status is None
