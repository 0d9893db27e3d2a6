"""The command of the original driver's author, with our library in place of his."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def classified(*command: object, **environment: str) -> tuple[list[str], str]:
    """Run a classifying program on the hens; return its lines and what it printed on stderr."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return done.stdout.splitlines(), done.stderr


def test_an_unchanged_program_finds_the_hen_with_the_scores_of_classify(
    mobilenet_v1: Path, mobilenet_labels: Path, library: Path
) -> None:
    common = [
        *("-i", CHECKOUT / "examples" / "hens.jpg"),
        *("-m", mobilenet_v1),
        *("-l", mobilenet_labels),
    ]
    example = CHECKOUT / "examples" / "classification.py"
    lines, told = classified(example, *common, "-e", library, TEFLON_DEBUG="verbose")
    assert lines[0] == "0.97: hen"
    assert lines[-1].startswith("time: ")
    assert lines[-1].endswith("ms")
    assert "rocketnpu: invoked graph, took " in told
    assert lines[:-1] == classified("-m", "rocketnpu.cli.main", "classify", *common)[0][:-1]


def test_build_delegate_prints_where_the_library_is(tmp_path: Path) -> None:
    lines, _ = classified("-m", "rocketnpu.cli.main", "build-delegate", "-o", tmp_path)
    assert lines == [str(tmp_path / "librocketnpu_delegate.so")]
    assert Path(lines[0]).read_bytes().startswith(b"\x7fELF")
