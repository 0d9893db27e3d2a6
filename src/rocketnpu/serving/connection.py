"""uvicorn's connections, watched: slow heads, answers that nobody reads, and too many of them.

uvicorn itself waits for ever in the first two cases. What is overridden here is what asyncio calls on any protocol.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from rocketnpu.serving.limits import Limits

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\nretry-after: 1\r\n"
    b'content-length: 32\r\n\r\n{"error":"too many connections"}'
)


class WatchedConnection(H11Protocol):
    """One connection, with deadlines."""

    limits = Limits()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or turn the client away."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.write(_FULL)
            self._end()
            return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that has begun has to end in time."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._await_head()
        else:
            self._forget_head()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, if an answer can still be given."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        self._end()

    def pause_writing(self) -> None:
        """Wait no longer than is granted for the client to read."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._forget_reader()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the end of the last answer."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_reader()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection."""
        super().timeout_keep_alive_handler()
        self._await_reader()

    def shutdown(self) -> None:
        """End with the server."""
        super().shutdown()
        if self.transport.is_closing():
            self._await_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget all deadlines."""
        self._forget_head()
        self._forget_reader()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self.limits.head_seconds, self._end)

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _forget_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _await_reader(self) -> None:
        """Cut a connection whose client does not take what is written to it."""
        if self._unread is None:
            self._unread = self.loop.call_later(self.limits.unread_seconds, self.transport.abort)

    def _end(self) -> None:
        self.transport.close()
        self._await_reader()


def watched(limits: Limits) -> type[WatchedConnection]:
    """Return the class of connections with these limits."""
    return type("WatchedConnection", (WatchedConnection,), {"limits": limits})
