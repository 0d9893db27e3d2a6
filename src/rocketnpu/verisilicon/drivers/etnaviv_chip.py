"""Which chip is behind an open etnaviv node: most of those that exist are GPUs.

One node may stand for several cores, such as a GPU for pictures, one for surfaces and an NPU: each answers at a pipe of
its own, numbered from 0 (facts 2; ``etnaviv_drv.c`` collects all cores of a machine under one node).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from rocketnpu.device.calls import Calls
from rocketnpu.verisilicon.drivers import etnaviv_uapi as kernel
from rocketnpu.verisilicon.soc import Identity, Soc, soc_of

VERSION = "1.4"
"""Of the interface: the first that tells a chip's product, customer and eco ids."""


def parameter(calls: Calls, fd: int, pipe: int, number: int) -> int:
    """Ask for a number that the driver knows of a core.

    Raises:
        OSError: ENXIO where nothing is at this pipe, EINVAL where the driver does not know the number.
    """
    asked = kernel.GetParam(pipe=pipe, param=number)
    while True:
        try:
            calls.ioctl(fd, kernel.GET_PARAM, asked)
        except InterruptedError:
            continue
        return int(asked.value)


def identities(calls: Calls, fd: int) -> Iterator[tuple[int, Identity]]:
    """Return each core's pipe and identity; ids that an older driver does not tell are 0.

    Raises:
        OSError: the node is gone, or no etnaviv node.
    """
    for pipe in range(kernel.MAX_PIPES):
        try:
            model, revision = (parameter(calls, fd, pipe, n) for n in (kernel.PARAM_MODEL, kernel.PARAM_REVISION))
        except OSError as error:
            if error.errno == errno.ENXIO:
                continue
            raise
        try:
            ids = [parameter(calls, fd, pipe, n) for n in _IDS]
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            ids = [0, 0, 0]
        yield pipe, Identity(model, revision, *ids)


_IDS = (kernel.PARAM_PRODUCT, kernel.PARAM_CUSTOMER, kernel.PARAM_ECO)


def pipe_of(calls: Calls, fd: int, soc: Soc) -> int | None:
    """Return the pipe of a chip's NPU; None where the node has none.

    Raises:
        OSError: the node is gone, or no etnaviv node.
    """
    return next((pipe for pipe, identity in identities(calls, fd) if soc_of(identity) == soc), None)


def refusal_of(soc: Soc) -> Callable[[Calls, int], str]:
    """Return what says why an open etnaviv node is not this chip's; see :class:`rocketnpu.device.base.Driver`."""

    def refusal(calls: Calls, fd: int) -> str:
        found = list(identities(calls, fd))
        if any(soc_of(identity) == soc for _, identity in found):
            return ""
        told = ", ".join(_described(identity) for _, identity in found) or "nothing"
        return f"has no NPU that is driven here, it has {told}"

    return refusal


def _described(identity: Identity) -> str:
    """Name a core: one of whose kind nothing has been tried, or another one, by its numbers."""
    known = soc_of(identity)
    numbers = f"model 0x{identity.model:x} revision 0x{identity.revision:x}"
    if known is not None:
        return f"the NPU of {known.title} ({numbers})"
    if identity.model == NPU_MODEL and not identity.product:
        return f"an NPU ({numbers}) whose kernel driver is older than {VERSION} and does not tell which"
    return f"{numbers} product 0x{identity.product:x}"


NPU_MODEL = 0x8000
"""What the NPUs that are known here call themselves (facts 1)."""
