"""What the emulated node does where the system has nothing left: it waits, and goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import time

PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EINTR, errno.ECONNABORTED}
"""Errors that go away by themselves."""
PAUSE_SECONDS = 0.02
MOST_DESCRIPTORS = 65_536
"""As many as are asked for: Python and others walk over the whole range now and then."""


def raise_own_limit() -> None:
    """Let this process have as many descriptors as the system allows it: each program's open file and buffer is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def wait_for_room(client: socket.socket, count: int) -> None:
    """Wait until ``count`` more descriptors can be open.

    Raises:
        OSError: ``client`` was closed meanwhile.
    """
    while True:
        held: list[int] = []
        try:
            for _ in range(count):
                held.append(os.dup(client.fileno()))
        except OSError as error:
            if error.errno not in PASSING:
                raise
        else:
            return
        finally:
            for descriptor in held:
                os.close(descriptor)
        time.sleep(PAUSE_SECONDS)
