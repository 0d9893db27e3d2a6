"""What a host may call or read to the very end of the process, and Python would free before.

A host's object that Python's last collection frees calls back when modules are empty already, and what they held may
be gone: which is first depends on the version of Python. A function that is gone would be a jump into freed memory.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import cffi

_Thing = TypeVar("_Thing")


def lasting(thing: _Thing) -> _Thing:
    """Keep an object, and what it holds, to the end of the process; return it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    return thing


def lasting_callback(ffi: cffi.FFI, signature: str, failed: Any = None) -> Callable[[Callable[..., Any]], Any]:
    """Make a C function of a Python function, as a decorator; it is never freed.

    Args:
        ffi: knows the types of ``signature``.
        signature: the C function's type.
        failed: what is returned should the function raise; a null pointer or 0 if None. Once the interpreter is ending
            nothing is printed then: the function's module may be empty.
    """

    def quiet_at_the_end(
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
        ending: Callable[[], bool] = sys.is_finalizing,
    ) -> None:
        del kind, trace
        if not ending():
            raise error

    def decorate(function: Callable[..., Any]) -> Any:
        return lasting(ffi.callback(signature, function, error=failed, onerror=quiet_at_the_end))

    return decorate
