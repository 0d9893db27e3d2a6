"""Exceptions of a program's signal handlers: they belong to the program, not to the part that they interrupted.

A handler runs wherever Python is when the signal comes. Inside a part that is below a C function of the host, which
knows no Python exceptions; it would turn SystemExit into a failed inference.
"""

from __future__ import annotations

import signal
import sys
from types import CodeType, FrameType, TracebackType
from typing import Any

_OURS = "rocketnpu.delegate"
"""Modules whose functions stand between the host and here."""


def is_interruption(error: BaseException) -> bool:
    """Say whether an exception came from a signal handler, or is one that no package may keep to itself."""
    if not isinstance(error, Exception):  # SystemExit, KeyboardInterrupt, GeneratorExit and their like
        return True
    handlers = _handlers()
    place = error.__traceback__
    return any(code in handlers for code in _codes(place))


def deliver(error: BaseException) -> bool:
    """Have an exception raised where this thread's Python called the C function below which it is.

    Call it in the outermost function of a callback, right before that returns a failure to C: the caller then gets the
    very object instead of what the host makes of the failure. (An exception set from C, or a signal, would come up in
    the callback itself.) Returns False where no Python called.
    """
    outside: FrameType | None = sys._getframe()
    while outside is not None and outside.f_globals.get("__name__", "").startswith(_OURS):
        outside = outside.f_back
    if outside is None:
        return False
    before, ancestors = sys.getprofile(), set()
    while outside is not None:
        ancestors.add(outside)
        outside = outside.f_back

    def watch(frame: FrameType, event: str, _: object) -> None:
        if frame in ancestors and event in ("return", "call", "c_call"):
            ancestors.clear()
            sys.setprofile(before)
            raise error

    sys.setprofile(watch)
    return True


def _codes(place: TracebackType | None) -> list[CodeType]:
    found = []
    while place is not None:
        found.append(place.tb_frame.f_code)
        place = place.tb_next
    return found


def _handlers() -> set[CodeType]:
    """Return the code of all signal handlers that the program has set."""
    found = set()
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        if not callable(handler):
            continue
        handler = getattr(handler, "func", handler)  # functools.partial
        handler = getattr(handler, "__func__", handler)
        code = getattr(handler, "__code__", None) or getattr(vars(type(handler)).get("__call__"), "__code__", None)
        if isinstance(code, CodeType):
            found.add(code)
    return found
