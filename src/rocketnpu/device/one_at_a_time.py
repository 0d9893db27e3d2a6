"""Objects that work from any thread, because their methods take turns."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
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


def _in_turn(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def taking_turns(self: Any, *arguments: Any, **options: Any) -> Any:
        process, lock = self._turn
        if process != os.getpid():
            self._turn = os.getpid(), threading.RLock()
            _, lock = self._turn
        with lock:
            return method(self, *arguments, **options)

    return taking_turns
