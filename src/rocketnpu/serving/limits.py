"""What a server grants to whoever asks; clients are strangers."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1 << 20
_HEAD_SECONDS = 10.0


@dataclass(frozen=True)
class Limits:
    """How much, how many and how long. Sizes are bytes, times seconds."""

    body: int = 32 * MEBIBYTE
    """Of one request."""
    queue: int = 64
    """Inferences of one model that wait; a batch of N is N of them."""
    seconds: float = 30.0
    """From a request's head to its answer."""
    connections: int = 256
    text: int = 8 * MEBIBYTE
    """JSON of one request: as Python's objects it takes some twenty times as much."""
    idle_seconds: float = 30.0
    """That a connection may stay without a request."""
    unread_seconds: float = 20.0
    """That a client may leave an answer unread."""

    @property
    def head_seconds(self) -> float:
        """From a connection's first moment, or a later request's first byte, to the end of the request's head."""
        return min(_HEAD_SECONDS, self.seconds)

    @property
    def bodies(self) -> int:
        """Bytes of all requests together that are being read."""
        return 8 * self.body
