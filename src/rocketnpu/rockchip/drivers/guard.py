"""A process that keeps a node open a little longer than its user lives: a way around a fault of the kernel's driver.

When a file is closed while one of its jobs still holds buffers, the rocket driver frees what the later release of those
buffers needs: a use after free that can take the machine down (Linux 7.2; outside 6). A process that is killed in
mid-job does just that. So another process gets the descriptor too: a shell that waits for the end of its input, which
comes when the user's process ends in whatever way, and then sleeps until all jobs have ended. It is started anew, for a
host with threads must not be forked without an exec.
"""

from __future__ import annotations

import contextlib
import os
import subprocess

from rocketnpu.device.calls import Calls, is_emulated

VARIABLE = "ROCKETNPU_GUARD"
"""``off`` does without, ``on`` asks for a guard on any node; else real nodes have one."""
LINGER = 1.5
"""Seconds that the guard stays behind: three jobs' time limits (0 of 8 kills did harm; outside 6)."""
_SCRIPT = f"cat >/dev/null; exec sleep {LINGER}"


def is_wanted(calls: Calls) -> bool:
    """Say whether a node behind these calls needs a guard: a real one does, as no kernel is known to be mended."""
    asked = os.environ.get(VARIABLE, "")
    if asked in ("on", "off"):
        return asked == "on"
    return not is_emulated(calls)


class Guard:
    """A running guard of one descriptor."""

    def __init__(self, descriptor: int) -> None:
        """Start it.

        Raises:
            OSError: there is no shell, or no process to be had.
        """
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(descriptor,),
            start_new_session=True,
        )

    @property
    def process(self) -> int:
        """Number of the process."""
        return self._process.pid

    def dismiss(self) -> None:
        """End it at once: no job is left. In a forked child it stays, for it is the parent's."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


def guard_of(descriptor: int, calls: Calls) -> Guard | None:
    """Start a guard where one is wanted and can be had; without one everything works, but for a kill in mid-job."""
    if not is_wanted(calls):
        return None
    try:
        return Guard(descriptor)
    except OSError:
        return None
