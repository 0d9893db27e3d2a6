"""The functions that a host calls. Each catches everything: what went wrong becomes text and a failed status.

Native structures name Python objects by number, not by address: a number that is no longer (or never was) in the
tables is refused, where an address would crash.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from rocketnpu.delegate import abi
from rocketnpu.delegate.abi import ffi
from rocketnpu.delegate.interruption import deliver, is_interruption
from rocketnpu.delegate.kernel import Kernel
from rocketnpu.delegate.lasting import lasting
from rocketnpu.delegate.log import NAME, Log
from rocketnpu.delegate.session import Session
from rocketnpu.errors import ModelError

_numbers = itertools.count(1)
_sessions: dict[int, Session] = {}
_kernels: dict[int, tuple[Session, Kernel]] = {}
_refusals: dict[int, str] = {}
"""Why delegates could not be made, for hosts that do not look."""
_structures: dict[int, Any] = lasting({})
"""Keeps each session's native structure alive."""


def register(session: Session) -> tuple[int, int]:
    """Make the native delegate of a session; return the session's number and the structure's address."""
    number = next(_numbers)
    native = ffi.new("HostDelegate *", {"data": ffi.cast("void *", number), "prepare": _delegate, "flags": abi.FLAGS})
    _sessions[number], _structures[number] = session, native
    return number, int(ffi.cast("intptr_t", native))


def refuse(text: str) -> tuple[int, int]:
    """Make a native delegate whose application fails with a reason; return its number and address as ``register``."""
    number = next(_numbers)
    native = ffi.new("HostDelegate *", {"data": ffi.cast("void *", number), "prepare": _delegate, "flags": abi.FLAGS})
    _refusals[number], _structures[number] = text, native
    return number, int(ffi.cast("intptr_t", native))


def unregister(number: int) -> None:
    """End a session: close it and free its native structure. Doing so twice is allowed."""
    session = _sessions.pop(number, None)
    _refusals.pop(number, None)
    _structures.pop(number, None)
    if session is not None:
        session.close()


def number_of(address: int) -> int:
    """Return the number of the session whose native structure is at ``address``, or 0 if there is none."""
    return next((n for n, native in list(_structures.items()) if int(ffi.cast("intptr_t", native)) == address), 0)


@abi.callback("int(HostContext *, HostDelegate *)", failed=abi.ERROR)
def _delegate(context: Any, native: Any) -> int:
    """Claim nodes of a host's network."""
    number = _number(native.data)
    session = _sessions.get(number)

    def work() -> int:
        if session is None:
            raise ModelError(_refusals.get(number, "the delegate was destroyed; it must outlive its interpreters"))
        nodes = session.claim(context).nodes
        if not nodes:
            return abi.OK
        try:
            return int(context.replace(context, _registration[0], abi.int_array(nodes), native))
        finally:
            session.forget(context)

    return int(_guard("applying the delegate", context, session, work, abi.ERROR))


@abi.callback("void *(HostContext *, const char *, size_t)", failed=abi.INIT_FAILED)
def _init(context: Any, data: Any, _: int) -> Any:
    """Make a kernel for a part."""
    params = ffi.cast("PartParams *", data)
    session = _sessions.get(_number(params.delegate.data))

    def work() -> Any:
        if session is None:
            raise ModelError("the delegate was destroyed; it must outlive its interpreters")
        kernel = session.kernel(context, abi.integers(params.nodes))
        number = next(_numbers)
        _kernels[number] = session, kernel
        return ffi.cast("void *", number)

    return _guard("placing a part", context, session, work, abi.INIT_FAILED)


@abi.callback("void(HostContext *, void *)")
def _free(context: Any, user_data: Any) -> None:
    """Free a part's kernel."""
    session, kernel = _kernels.pop(_number(user_data), (None, None))
    if session is not None and kernel is not None:
        _guard("freeing a part", context, session, lambda: session.drop(kernel), None)


@abi.callback("int(HostContext *, HostNode *)", failed=abi.ERROR)
def _prepare(context: Any, node: Any) -> int:
    """Follow the shapes of a part's tensors."""
    return _on_kernel("preparing a part", context, node, lambda kernel: kernel.prepare(context))


@abi.callback("int(HostContext *, HostNode *)", failed=abi.ERROR)
def _invoke(context: Any, node: Any) -> int:
    """Run a part."""
    return _on_kernel("running a part", context, node, lambda kernel: kernel.invoke(context))


_name = lasting(ffi.new("char[]", NAME.upper().encode()))
_registration = ffi.new(
    "Registration *",
    {"init": _init, "free": _free, "prepare": _prepare, "invoke": _invoke, "custom_name": _name, "version": 1},
)


def _number(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def _on_kernel(where: str, context: Any, node: Any, act: Callable[[Kernel], None]) -> int:
    session, kernel = _kernels.get(_number(node.user_data), (None, None))

    def work() -> int:
        if kernel is None:
            raise ModelError("this part was never placed, or is gone")
        act(kernel)
        return abi.OK

    return int(_guard(where, context, session, work, abi.ERROR))


def _guard(where: str, context: Any, session: Session | None, work: Callable[[], Any], failed: Any) -> Any:
    """Do ``work``; turn whatever it raises into text for the user and for the host, and return ``failed``.

    What a signal handler of the program raised is the program's own: it comes up where the program called the host.
    """
    log = session.log if session is not None else Log(verbose=False)
    try:
        return work()
    except BaseException as error:
        if is_interruption(error) and deliver(error):
            return failed
        text = log.failure(where, error)
        context.report(context, b"%s", ffi.new("char[]", f"{NAME}: {text}\n".encode()))
    return failed
