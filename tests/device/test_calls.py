"""The C library's calls: errors carry the number, and the path where there is one."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path

import pytest

from rocketnpu.device.calls import SystemCalls


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        SystemCalls().open(str(tmp_path / "none"))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(tmp_path / "none"))


def test_a_descriptor_that_is_none_has_no_name() -> None:
    calls, memory = SystemCalls(), ctypes.create_string_buffer(64)
    for call in (lambda: calls.ioctl(-1, 0, memory), lambda: calls.map(-1, 0, 4096)):
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            call()
        assert (caught.value.errno, caught.value.filename) == (errno.EBADF, None)
