"""Objects that work from any thread, because their methods take turns."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, ClassVar


class OneAtATime:
    """A base class whose subclasses run the methods named in :attr:`taking_turns` one at a time.

    Such a method may call others of the same object. A thread that comes meanwhile waits. In a forked child, where the
    threads of the parent are gone, nobody is waited for.
    """

    _turn: tuple[int, Any]
    """The process that made the lock, and the lock."""
    taking_turns: ClassVar[tuple[str, ...]] = ()
    """Names of the methods; a subclass that defines one of them needs to do nothing."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Wrap the methods that the class defines."""
        super().__init_subclass__(**options)
        for name in cls.taking_turns:
            method = vars(cls).get(name)
            if method is not None and not getattr(method, "__isabstractmethod__", False):
                setattr(cls, name, _in_turn(method))

    def __new__(cls, *_arguments: object, **_options: object) -> Any:
        """Make the object with its lock, before any constructor runs."""
        made = super().__new__(cls)
        made._turn = (os.getpid(), threading.RLock())
        return made

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Call several methods in a row, with no other thread's between them."""
        with _lock_of(self):
            yield


def turn_of(thing: object) -> AbstractContextManager[None]:
    """Return the turn of something that works one call at a time; nothing is waited for where it does not say so."""
    turn: Callable[[], AbstractContextManager[None]] | None = getattr(thing, "turn", None)
    return nullcontext() if turn is None else turn()


def _lock_of(thing: OneAtATime) -> AbstractContextManager[Any]:
    process, lock = thing._turn
    if process != os.getpid():
        thing._turn = os.getpid(), threading.RLock()
        lock = thing._turn[1]
    found: AbstractContextManager[Any] = lock
    return found


def _in_turn(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def taking_turns(self: Any, *arguments: Any, **options: Any) -> Any:
        with _lock_of(self):
            return method(self, *arguments, **options)

    return taking_turns
