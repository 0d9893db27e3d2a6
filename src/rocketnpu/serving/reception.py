"""Reading a request's body: so much, so long, and so much of all at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.requests import Request

from rocketnpu.serving.limits import Limits
from rocketnpu.serving.refusal import RefusedError, malformed

_LINGER_BYTES = 1 << 28
"""Of a body that is too large that are read and dropped: an answer would be lost while the client still writes."""


class Reception:
    """Reads bodies; one for a server. Used by one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Read the body; its bytes count among all that are held until the block ends.

        Raises:
            RefusedError: it is too large, comes too slowly, or too much is held already.
            ClientDisconnect: the client went away.
        """
        announced = _announced(request)
        if announced is not None and announced > self._limits.body:
            await self._drop(request)
            raise self._too_large()
        held = 0
        try:
            blocks: list[bytes] = []
            try:
                async with asyncio.timeout(self._limits.seconds):
                    async for block in request.stream():
                        held += len(block)
                        self._held += len(block)
                        if held > self._limits.body:
                            blocks.clear()
                            self._held, held = self._held - held, 0
                            await self._drop(request)
                            raise self._too_large()
                        if self._held > self._limits.bodies:
                            text = "too much is being read: try again later"
                            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, text, leave=True)
                        blocks.append(block)
            except TimeoutError:
                raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time", leave=True) from None
            yield b"".join(blocks)
        finally:
            self._held -= held

    def _too_large(self) -> RefusedError:
        text = f"the body has more than {self._limits.body} bytes"
        return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text, leave=True)

    async def _drop(self, request: Request) -> None:
        """Read on for a while and keep nothing, unless the client waits to be told to send."""
        if "100-continue" in request.headers.get("expect", "").lower():
            return
        dropped = 0
        try:
            async with asyncio.timeout(self._limits.seconds):
                while dropped < _LINGER_BYTES:
                    message = await request.receive()
                    dropped += len(message.get("body", b""))
                    if message["type"] != "http.request" or not message.get("more_body"):
                        return
        except TimeoutError:
            return


def _announced(request: Request) -> int | None:
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not text.isdecimal():
        raise malformed("the Content-Length is no number")
    return int(text)
