"""What is held back of standard error while the onnx package is loaded beside a host's own libonnx."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rocketnpu.provider.stderr import REGISTERED_TWICE, register_first, shared_onnx, sifted

NOISE = (
    b"Schema error: Trying to register schema with name Relu (domain:  version: 6) from file a.cc line 1, "
    b"but it is already registered from file b.cc line 2\n"
)


def test_complaints_of_operators_registered_twice_are_dropped_and_nothing_else(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with sifted(REGISTERED_TWICE):
        os.write(2, b"before\n\n" + NOISE + b"\nbetween\n\n" + NOISE)
        os.write(2, b"the last line has no end")
        assert capfd.readouterr().err == ""
    os.write(2, b", after\n")
    assert capfd.readouterr().err == "before\n\nbetween\n\nthe last line has no end, after\n"


def test_what_was_said_comes_out_though_the_loading_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def load() -> None:
        with sifted(REGISTERED_TWICE):
            os.write(2, b"why\n" + NOISE)
            raise ImportError

    with pytest.raises(ImportError):
        load()
    assert capfd.readouterr().err == "why\n"


def test_no_descriptor_is_left_and_a_closed_stderr_is_no_reason_to_fail() -> None:
    script = (
        "import os\nfrom rocketnpu.provider.stderr import sifted\n"
        "count = lambda: len(os.listdir('/proc/self/fd'))\nfirst = count()\n"
        "with sifted((b'x',)): os.write(2, b'y\\n')\nassert count() == first\n"
        "os.close(2)\nwith sifted((b'x',)): print('ran')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "y\n")


def test_a_shared_libonnx_is_found_by_its_name(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    assert shared_onnx(maps) is None
    maps.write_text("7f r-xp 00 /usr/lib/python3/onnx_cpp2py_export.so\n7e r-xp 00 /usr/lib/libonnxruntime.so.1.23\n")
    assert shared_onnx(maps) is None
    maps.write_text("7f-80 r-xp 00000000 fe:00 12 /usr/lib/x86 64/libonnx.so.1.19.1\n")
    assert shared_onnx(maps) == "/usr/lib/x86 64/libonnx.so.1.19.1"


def test_a_library_that_is_not_loaded_or_is_no_libonnx_is_left_alone(tmp_path: Path) -> None:
    register_first(str(tmp_path / "libonnx.so.1"))
    register_first("libc.so.6")
