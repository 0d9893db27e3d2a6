"""Ctrl-C while a delegate is applied: a real process gets a real signal while a part is compiled."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from delegate_bench import chain

SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from rocketnpu.delegate import session
def slow(self, graph):
    print("compiling", flush=True)
    time.sleep(60)
session.Session._compile = slow
from ai_edge_litert.interpreter import Interpreter, load_delegate
import rocketnpu
options = {"device": "simulator", "minimum_macs": "0", "cache": "off"}
library, model, end = sys.argv[1:]
delegate = load_delegate(library, options) if library else rocketnpu.Delegate(**options)
try:
    Interpreter(model, experimental_delegates=[delegate]).allocate_tensors()
except KeyboardInterrupt:
    if end == "caught":
        sys.exit(3)
    raise
finally:
    print("unwound", flush=True)
"""


def interrupted(library: str, model: Path, end: str) -> tuple[int, str, str]:
    """Run the script in a shell, send its process SIGINT while it compiles, and return the shell's status and words."""
    command = [sys.executable, "-c", SCRIPT, library, str(model), end]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "compiling\n"
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    status = process.returncode
    # A process that ends by a signal has the status 128 and its number, as every shell says it.
    return (128 - status if status < 0 else status), out, err


@pytest.mark.parametrize("through", ["Python", "library"])
def test_control_c_while_a_delegate_is_applied_ends_with_130(
    through: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    library = str(request.getfixturevalue("library")) if through == "library" else ""
    model = tmp_path / "model.tflite"
    model.write_bytes(chain("npu"))
    status, out, err = interrupted(library, model, "left")
    assert status == 130
    assert out == "unwound\n"
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "rocketnpu: " not in err
    assert interrupted(library, model, "caught")[0] == 3
