"""Servers under test: processes of their own, as a user starts them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np

from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder

SECONDS = 60.0
"""A start may take on a busy machine."""


def classifier() -> bytes:
    """A picture of 16 x 16 to ten scores."""
    builder, random = ModelBuilder(), np.random.default_rng(5)
    source = builder.tensor((1, 16, 16, 3), DType.UINT8, scale=1 / 128, zero_point=128)
    middle = builder.tensor((1, 4, 4, 10), DType.UINT8, scale=0.05, zero_point=100)
    sink = builder.tensor((1, 1, 1, 10), DType.UINT8, scale=0.05, zero_point=100)
    weights = builder.tensor(
        (10, 4, 4, 3), DType.UINT8, scale=0.01, zero_point=128, data=random.integers(0, 256, (10, 4, 4, 3))
    )
    bias = builder.tensor((10,), DType.INT32, scale=0.01 / 128, data=random.integers(-9, 9, 10))
    builder.operator("CONV_2D", [source, weights, bias], [middle], ops.Conv2D((4, 4), Padding.VALID))
    builder.operator("AVERAGE_POOL_2D", [middle], [sink], ops.Pool2D((1, 1), Padding.VALID, (4, 4)))
    return builder.build([source], [sink])


def detector() -> bytes:
    """A picture of 32 x 32 to 16 rows of YOLOv5 with two classes: nothing sensible, but boxes."""
    builder, random = ModelBuilder(), np.random.default_rng(7)
    source = builder.tensor((1, 32, 32, 3), DType.UINT8, scale=1 / 255, zero_point=0)
    maps = builder.tensor((1, 4, 4, 7), DType.UINT8, scale=1 / 255, zero_point=0)
    rows = builder.tensor((1, 16, 7), DType.UINT8, scale=1 / 255, zero_point=0)
    weights = builder.tensor(
        (7, 8, 8, 3), DType.UINT8, scale=0.0005, zero_point=128, data=random.integers(0, 256, (7, 8, 8, 3))
    )
    bias = builder.tensor((7,), DType.INT32, scale=0.0005 / 255, data=np.full(7, 230000))
    builder.operator("CONV_2D", [source, weights, bias], [maps], ops.Conv2D((8, 8), Padding.VALID))
    shape = builder.tensor((3,), DType.INT32, data=np.array([1, 16, 7], np.int32))
    builder.operator("RESHAPE", [maps, shape], [rows])
    return builder.build([source], [rows])


class Served:
    """``rocketnpu serve`` with its arguments, until the block ends."""

    def __init__(self, *arguments: object, environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "rocketnpu", "serve", "-p", "0", *map(str, arguments)]
        if "-d" not in arguments:
            command += ["-d", "simulator"]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr:
            self.lines.extend(self.process.stderr)  # line by line, as they come

    def __enter__(self) -> Self:
        self._reader.start()
        self.url = self._wait(re.compile(r"(https?://\S+?)/v2/models/")).group(1)
        return self

    def _wait(self, pattern: re.Pattern[str]) -> re.Match[str]:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for line in list(self.lines):
                if found := pattern.match(line):
                    return found
            assert self.process.poll() is None, self.log
            time.sleep(0.02)
        raise AssertionError(self.log)

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reader.join(SECONDS)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.partition("://")[2].rpartition(":")
        return host, int(port)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=SECONDS, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return httpx.post(self.url + path, timeout=SECONDS, **options)

    def figure(self, name: str) -> float:
        """One of the metrics, the sum over its labels."""
        values = [line.rsplit(" ", 1) for line in self.get("/metrics").text.splitlines() if line.startswith(name)]
        return sum(float(value) for label, value in values if label.partition("{")[0] == name)

    @property
    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s*(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return int(found.group(1)) << 10
