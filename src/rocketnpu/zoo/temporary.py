"""A temporary folder that is gone afterwards, whatever ends the work: an error, Ctrl-C, or a signal to end."""

from __future__ import annotations

import atexit
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from rocketnpu.closing import SIGNAL_STATUS, end_in_order

_ATTEMPTS, _PAUSE_SECONDS = 5, 0.1


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder and remove it with all that is in it.

    In the main thread, SIGTERM and SIGHUP raise SystemExit meanwhile, and while the folder is made or removed, these
    and Ctrl-C wait. Signals that the program ignores or handles itself are left alone.
    """
    signals = _Signals()
    try:
        folder = Path(tempfile.mkdtemp(prefix="rocketnpu-"))
        removal = partial(_remove, folder)
        atexit.register(removal)  # should a signal come just outside of the try statement
        try:
            signals.let_through()
            yield folder
        finally:
            signals.hold()
            removal()
            atexit.unregister(removal)
    finally:
        signals.restore()


def _remove(folder: Path) -> None:
    for _ in range(_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_PAUSE_SECONDS)  # a program that was just ended may still have written to it


class _Signals:
    """Handlers for the signals that end a program; they hold signals back from the start."""

    def __init__(self) -> None:
        self._held: int | None = None
        self._holding = True
        self._before: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if before in (signal.SIG_DFL, signal.default_int_handler, end_in_order):
                self._before[number] = before
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._holding:
            self._held = self._held or number
        else:
            _end(number)

    def hold(self) -> None:
        self._holding = True

    def let_through(self) -> None:
        self._holding = False
        self._raise_held()

    def restore(self) -> None:
        """Set the handlers as they were before, then let go of a signal that was held back."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._raise_held()

    def _raise_held(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            _end(held)


def _end(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(SIGNAL_STATUS + number)
