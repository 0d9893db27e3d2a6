"""A request that is not answered as it was meant."""

from __future__ import annotations

from http import HTTPStatus

from rocketnpu.errors import RocketError


class RefusedError(RocketError):
    """What a client is told instead of a result.

    Attributes:
        status: HTTP's. 4xx is the client's to change, 429, 503 and 504 may be tried again.
        leave: whether the connection is of no use any more, since the rest of the request was not read.
    """

    def __init__(self, status: HTTPStatus, text: str, *, leave: bool = False) -> None:
        """Keep the status; ``text`` tells a stranger nothing about this machine."""
        self.status, self.leave = status, leave
        super().__init__(text)


def malformed(text: str) -> RefusedError:
    """Return the refusal of a request that says something wrong."""
    return RefusedError(HTTPStatus.BAD_REQUEST, text)
