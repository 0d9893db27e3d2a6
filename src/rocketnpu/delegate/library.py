"""What the shared library calls: delegates made from C strings, known to their hosts by address.

Everything is caught here; a failure is text, on stderr first and then to the host, and address 0 where the host takes
such text.
"""

from __future__ import annotations

from typing import Any

from rocketnpu.delegate import callbacks
from rocketnpu.delegate.abi import ffi
from rocketnpu.delegate.delegate import Delegate
from rocketnpu.delegate.log import Log
from rocketnpu.errors import InputError

_delegates: dict[int, Delegate] = {}
_refused: dict[int, int] = {}
"""Numbers of delegates that only tell why there is none, by their address."""


def create(keys: int, values: int, count: int, report: int) -> int:
    """Make a delegate from ``count`` pairs of C strings and return the address of its native structure.

    ``keys`` and ``values`` are addresses of arrays of strings, ``report`` that of a C function which takes a text, or
    0. A host that gives none may not look at the result either: it gets a delegate whose application fails with the
    reason.
    """
    try:
        delegate = Delegate(**_pairs(keys, values, count))
    except BaseException as error:
        text = Log(verbose=False).failure("cannot create the delegate", error)
        if not report:
            number, address = callbacks.refuse(text)
            _refused[address] = number
            return address
        ffi.cast("void(*)(const char *)", report)(ffi.new("char[]", text.encode("utf-8", "backslashreplace")))
        return 0
    address = delegate._get_native_delegate_pointer()
    _delegates[address] = delegate
    return address


def destroy(address: int) -> None:
    """End a delegate; an address that is none is ignored."""
    delegate = _delegates.pop(address, None)
    if delegate is not None:
        delegate.close()
    callbacks.unregister(_refused.pop(address, 0))


def _pairs(keys: int, values: int, count: int) -> dict[str, str]:
    names, texts = ffi.cast("char **", keys), ffi.cast("char **", values)
    return {_text(names[i]): _text(texts[i]) for i in range(count)}


def _text(string: Any) -> str:
    if string == ffi.NULL:
        raise InputError("an option without a name or a value")
    return str(ffi.string(string).decode("utf-8", "replace"))
