"""Stand-ins for kernels with etnaviv nodes, in this process: what they are asked, and what they answer."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from random import Random
from typing import ClassVar

from bracketed import Bracketed
from rocketnpu.device import uapi as drm
from rocketnpu.verisilicon.drivers import etnaviv_uapi as uapi
from rocketnpu.verisilicon.soc import A311D, Identity

GPU_3D = Identity(0x7000, 0x6204, 0, 0, 0)
GPU_2D = Identity(0x520, 0x5341, 0, 0, 0)


class Nodes:
    """Render nodes that know who they are and nothing else.

    Each is a driver's name and the cores behind it, a pipe each; None is a pipe where nothing is.
    """

    def __init__(self, nodes: dict[str, tuple[str, list[Identity | None]]], *, before_14: bool = False) -> None:
        self.nodes, self.before_14 = nodes, before_14
        self.opened: dict[int, str] = {}
        self.softpin_start = uapi.SOFTPIN_START

    def open(self, path: str) -> int:
        if path not in self.nodes:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        fd = os.open(os.devnull, os.O_RDONLY)
        self.opened[fd] = path
        return fd

    def close(self, fd: int) -> None:
        del self.opened[fd]
        os.close(fd)

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        driver, cores = self.nodes[self.opened[fd]]
        if request == drm.VERSION:
            raw = driver.encode()
            ctypes.memmove(argument.name, raw, min(len(raw), argument.name_length))
            argument.name_length = len(raw)
        elif request == uapi.GET_PARAM and driver == uapi.DRIVER:
            self._parameter(cores, argument)
        else:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    def _parameter(self, cores: list[Identity | None], argument: uapi.GetParam) -> None:
        identity = cores[argument.pipe] if argument.pipe < len(cores) else None
        if identity is None:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        known = {uapi.PARAM_MODEL: identity.model, uapi.PARAM_REVISION: identity.revision}
        known[uapi.PARAM_SOFTPIN_START] = self.softpin_start
        if not self.before_14:
            known |= {uapi.PARAM_PRODUCT: identity.product, uapi.PARAM_CUSTOMER: identity.customer}
            known[uapi.PARAM_ECO] = identity.eco
        if argument.param not in known:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        argument.value = known[argument.param]

    def map(self, _fd: int, _offset: int, _size: int) -> int:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    def unmap(self, _address: int, _size: int) -> None:
        raise AssertionError("nothing was mapped")


class Lying(Bracketed):
    """A kernel that fails or lies at one kind of call, once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.target: int | None = None
        self.error = 0
        self.changes: dict[str, int] = {}

    def fail(self, target: int, error: int = 0, **changes: int) -> None:
        self.target, self.error, self.changes = target, error, changes

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        if request != self.target:
            return super().ioctl(fd, request, argument)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        super().ioctl(fd, request, argument)
        for name, value in self.changes.items():
            setattr(argument, name, value)
        return None


class Mad(Bracketed):
    """A kernel that fails or lies at random, while it is mad: each call has its share of errors and false numbers."""

    errors = (
        errno.ENOMEM,
        errno.EIO,
        errno.EINVAL,
        errno.ENOSPC,
        errno.ENXIO,
        errno.ETIMEDOUT,
        errno.EBUSY,
        errno.EINTR,
    )
    answers: ClassVar = {uapi.GEM_NEW: "handle", uapi.GEM_INFO: "offset", uapi.SUBMIT: "fence", uapi.GET_PARAM: "value"}

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.choose = Random(seed)
        self.mad = True
        self.done = 0

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        whim = self.choose.random() if self.mad else 1.0
        if whim < 0.02:
            self.done += 1
            error = self.choose.choice(self.errors)
            raise OSError(error, os.strerror(error))
        super().ioctl(fd, request, argument)
        if whim < 0.04 and request in self.answers:
            self.done += 1
            setattr(argument, self.answers[request], self.choose.choice([0, 1, 2, self.choose.getrandbits(32)]))


class Behind(Bracketed):
    """The emulated NPU as the third core of its node, behind two GPUs, as mainline collects an i.MX 8M Plus's cores."""

    pipe = 2

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        if request not in (uapi.GET_PARAM, uapi.SUBMIT, uapi.WAIT_FENCE):
            return super().ioctl(fd, request, argument)
        if argument.pipe == self.pipe:
            argument.pipe = 0
            try:
                return super().ioctl(fd, request, argument)
            finally:
                argument.pipe = self.pipe
        if request == uapi.GET_PARAM and argument.pipe < self.pipe:
            identity = (GPU_3D, GPU_2D)[argument.pipe]
            argument.value = {uapi.PARAM_MODEL: identity.model, uapi.PARAM_REVISION: identity.revision}.get(
                argument.param, 0
            )
            return None
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))


NPU = A311D.identity


def gone(rig) -> None:
    """Wait until a node, whose threads are this process's, has seen its last file closed."""
    end = time.monotonic() + 5
    while rig.node.open_files and time.monotonic() < end:
        time.sleep(0.01)
    assert rig.node.open_files == rig.node.live_buffers == 0
