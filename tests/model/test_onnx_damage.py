"""Damaged ONNX models are refused in a line, or read; none ends the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COUNT = int(os.environ.get("ROCKETNPU_ONNX_DAMAGED", "500"))
"""How many; 20,000 take about two minutes."""


def test_damaged_models_never_end_in_a_traceback() -> None:
    child = [sys.executable, str(Path(__file__).with_name("run_damaged_onnx.py")), "0", str(COUNT)]
    done = subprocess.run(child, capture_output=True, text=True, check=False)
    lines = done.stdout.split("\n")
    assert done.returncode == 0, f"seed {lines[-2]}: {done.stderr[-3000:]}"
    assert lines[-3] == str(COUNT - 1)
    accepted = int(lines[-2].removeprefix("accepted "))
    assert COUNT // 20 < accepted < COUNT
