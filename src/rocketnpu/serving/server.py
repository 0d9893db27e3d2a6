"""Serving until a signal comes: HTTP by uvicorn, and Frigate beside it."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import uvicorn

from rocketnpu.serving.app import application
from rocketnpu.serving.connection import watched
from rocketnpu.serving.limits import Limits
from rocketnpu.serving.listening import Door
from rocketnpu.serving.metrics import Metrics
from rocketnpu.serving.pool import Pool

_ENDING = (signal.SIGINT, signal.SIGTERM)
_HEAD_BYTES = 64 << 10
"""Of a request's head."""


class _Server(uvicorn.Server):
    """uvicorn's server, which ends in order at a first signal and at once at a second one."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals, and leave none behind: an end that was asked for is no failure."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _ENDING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    pools: Sequence[Pool],
    metrics: Metrics,
    door: Door,
    limits: Limits,
    listening: socket.socket,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests until SIGINT or SIGTERM; those that have begun are answered before it returns.

    Args:
        pools: the models, closed by who made them.
        metrics: where requests are counted.
        door: who is let in.
        limits: what is granted.
        listening: the door's socket; closed at the end.
        started: called when requests are taken.
    """
    options: dict[str, Any] = {"ssl_certfile": str(door.certificate), "ssl_keyfile": str(door.key)}
    config = uvicorn.Config(
        _announcing(application(pools, metrics, limits, door.token), started),
        http=watched(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(limits.idle_seconds),
        timeout_graceful_shutdown=int(limits.seconds) + 1,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        **(options if door.certificate else {}),
    )
    with listening:
        _Server(config).run([listening])


def _announcing(app: Any, started: Callable[[], None]) -> Any:
    """Return an application that says when its life has begun."""

    async def announcing(scope: Any, receive: Any, send: Any) -> None:
        async def telling(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                started()

        await app(scope, receive, telling if scope["type"] == "lifespan" else send)

    return announcing
