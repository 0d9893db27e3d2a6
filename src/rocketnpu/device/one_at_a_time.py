"""Objects that work from any thread, because their methods take turns."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, ClassVar


class FairTurns:
    """A lock that is handed to whoever has waited for longest; its holder may take it again.

    Python's own locks go to whoever comes first when they are free, and a thread that has just given one back mostly
    comes first: it would run inference after inference while another waits with converted inputs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, threading.Event]] = deque()
        self._holder, self._depth = 0, 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn, and hold it."""
        self._take(threading.get_ident())
        try:
            yield
        finally:
            self._give()

    def _take(self, thread: int) -> None:
        with self._lock:
            if not self._depth or self._holder == thread:
                self._holder, self._depth = thread, self._depth + 1
                return
            mine = thread, threading.Event()
            self._waiting.append(mine)
        try:
            mine[1].wait()
        except BaseException:  # a signal's handler raised: nobody waits here any more
            with self._lock:
                waits = mine in self._waiting
                if waits:
                    self._waiting.remove(mine)
            if not waits:
                self._give()
            raise

    def _give(self) -> None:
        with self._lock:
            self._depth -= 1
            if not self._depth and self._waiting:
                self._holder, handed = self._waiting.popleft()
                self._depth = 1
                handed.set()


class OneAtATime:
    """A base class whose subclasses run the methods named in :attr:`taking_turns` one at a time.

    Such a method may call others of the same object. A thread that comes meanwhile waits. In a forked child, where the
    threads of the parent are gone, nobody is waited for.
    """

    _turn: tuple[int, Any, FairTurns]
    """The process that made the locks, the lock of single calls, and that of several in a row."""
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
        made._turn = os.getpid(), threading.RLock(), FairTurns()
        return made

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Call several methods in a row, with no other thread's between them; who asks first has the turn first."""
        _, lock, turns = _locks_of(self)
        with turns.turn(), lock:
            yield


def turn_of(thing: object) -> AbstractContextManager[None]:
    """Return the turn of something that works one call at a time; nothing is waited for where it does not say so."""
    turn: Callable[[], AbstractContextManager[None]] | None = getattr(thing, "turn", None)
    return nullcontext() if turn is None else turn()


def _locks_of(thing: OneAtATime) -> tuple[int, Any, FairTurns]:
    if thing._turn[0] != os.getpid():
        thing._turn = os.getpid(), threading.RLock(), FairTurns()
    return thing._turn


def _in_turn(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def taking_turns(self: Any, *arguments: Any, **options: Any) -> Any:
        with _locks_of(self)[1]:
            return method(self, *arguments, **options)

    return taking_turns
