"""What the shared library calls: factories made and ended by address. A failure is text and a status, never a raise."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext

from rocketnpu.delegate.log import Log
from rocketnpu.errors import InputError
from rocketnpu.model.onnx.proto import require_onnx
from rocketnpu.provider import NAME
from rocketnpu.provider.abi import FAIL, Runtime, address, ffi
from rocketnpu.provider.callbacks import drop_factory, make_factory
from rocketnpu.provider.stderr import REGISTERED_TWICE, register_first, shared_onnx, sifted


def create(registered: str, base: int, factories: int, most: int, count: int) -> int:
    """Fill in the one factory that this library has, and return the address of a status, 0 where all went well.

    ``registered`` is the name under which the host registers the library; ``base``, ``factories`` and ``count`` are
    addresses of the host's interface, of an array for ``most`` factories and of their number.
    """
    try:
        _require_onnx()
        _need_room(registered, most)
        ffi.cast("void **", factories)[0] = ffi.cast("void *", make_factory(base))
        ffi.cast("size_t *", count)[0] = 1
    except BaseException as error:
        text = Log(verbose=False).failure("cannot create the execution provider", error)
        return address(Runtime(base).status(FAIL, text))
    return 0


def _require_onnx() -> None:
    """Import the ``onnx`` package so that its compiled part uses its own functions.

    A host may be linked with a shared library of ONNX (Debian's is): the package registers its operators there a
    second time, for one symbol of both is unique in a process. The library keeps the first ones, which say the same,
    and complains of each of the others; nobody needs to read that.

    Raises:
        UnsupportedError: it is not installed.
    """
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    shared = shared_onnx()
    quiet = sifted(REGISTERED_TWICE) if shared else nullcontext()
    try:
        with quiet:
            if shared:
                register_first(shared)
            require_onnx().defs.has("Relu")  # whoever asks first has all operators registered
    finally:
        sys.setdlopenflags(flags)


def _need_room(registered: str, most: int) -> None:
    if most < 1:
        raise InputError(f"the host has no room for a factory of {NAME}, registered as {registered!r}")


def destroy(factory: int) -> None:
    """End a factory; an address that is none is ignored."""
    drop_factory(factory)
