"""Servers under test: processes of their own, as a user starts them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

SECONDS = 60.0
"""A start may take on a busy machine."""


def eventually(true: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Say whether something comes true within some time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


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

    def said(self, text: str) -> bool:
        """Say whether the server wrote this; what it writes is read by a thread, so it may come a little later."""
        end = time.monotonic() + 10
        while text not in self.log and time.monotonic() < end:
            time.sleep(0.02)
        return text in self.log

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
