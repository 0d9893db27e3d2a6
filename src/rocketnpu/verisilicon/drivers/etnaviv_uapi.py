"""Kernel interface of the ``etnaviv`` driver, declared once.

Source: ``include/uapi/drm/etnaviv_drm.h`` of Linux, version 1.4 of the interface (facts 2); sizes and offsets are
checked by ``tests/verisilicon/drivers/test_etnaviv_uapi.py``.
"""

from __future__ import annotations

import ctypes

from rocketnpu.device.uapi import DRM_COMMAND_BASE, READ, WRITE, number

DRIVER = "etnaviv"
"""Name that DRM_IOCTL_VERSION reports."""
PAGE = 4096
SOFTPIN_START = 4 << 20
"""First address that user space may choose (ETNAVIV_SOFTPIN_START_ADDRESS)."""
MAX_PIPES = 4
MAX_STREAM = 128 << 10
"""Bytes of one submission's stream, and entries of each of its arrays (SZ_128K in etnaviv_gem_submit.c)."""
MAX_COUNTERS, COUNTER_BYTES = 128, 24

PARAM_MODEL, PARAM_REVISION = 0x01, 0x02
PARAM_FEATURES = range(0x03, 0x10)
PARAM_LIMITS = range(0x10, 0x1B)
PARAM_SOFTPIN_START, PARAM_PRODUCT, PARAM_CUSTOMER, PARAM_ECO = 0x1B, 0x1C, 0x1D, 0x1E

BO_CACHED, BO_WRITE_COMBINED, BO_UNCACHED, BO_FORCE_MMU = 0x10000, 0x20000, 0x40000, 0x100000
CACHE_MODES = (BO_CACHED, BO_WRITE_COMBINED, BO_UNCACHED)
PREP_READ, PREP_WRITE, PREP_NOSYNC = 1, 2, 4
SUBMIT_BO_READ, SUBMIT_BO_WRITE = 1, 2
SUBMIT_NO_IMPLICIT, SUBMIT_FENCE_IN, SUBMIT_FENCE_OUT, SUBMIT_SOFTPIN = 1, 2, 4, 8
EXEC_STATES = (0, 1, 2)
"""3D, 2D, VG."""
WAIT_NONBLOCK = 1


class Timespec(ctypes.Structure):
    """A time of the monotonic clock."""

    _fields_ = (("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64))


class GetParam(ctypes.Structure):
    """Ask what the chip is."""

    _fields_ = (("pipe", ctypes.c_uint32), ("param", ctypes.c_uint32), ("value", ctypes.c_uint64))


class GemNew(ctypes.Structure):
    """Allocate a buffer: size and cache mode in; handle out."""

    _fields_ = (("size", ctypes.c_uint64), ("flags", ctypes.c_uint32), ("handle", ctypes.c_uint32))


class GemInfo(ctypes.Structure):
    """Ask for a buffer's offset for mmap."""

    _fields_ = (("handle", ctypes.c_uint32), ("pad", ctypes.c_uint32), ("offset", ctypes.c_uint64))


class CpuPrep(ctypes.Structure):
    """Wait for the jobs that use a buffer, then make it visible to the CPU."""

    _fields_ = (("handle", ctypes.c_uint32), ("op", ctypes.c_uint32), ("timeout", Timespec))


class CpuFini(ctypes.Structure):
    """Hand a buffer to the device."""

    _fields_ = (("handle", ctypes.c_uint32), ("flags", ctypes.c_uint32))


class Submit(ctypes.Structure):
    """Queue a front-end stream with the buffers that it may reach."""

    _fields_ = (
        ("fence", ctypes.c_uint32),
        ("pipe", ctypes.c_uint32),
        ("exec_state", ctypes.c_uint32),
        ("bo_count", ctypes.c_uint32),
        ("reloc_count", ctypes.c_uint32),
        ("stream_size", ctypes.c_uint32),
        ("bos", ctypes.c_uint64),
        ("relocs", ctypes.c_uint64),
        ("stream", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("fence_fd", ctypes.c_int32),
        ("pmrs", ctypes.c_uint64),
        ("pmr_count", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
    )


class SubmitBo(ctypes.Structure):
    """A buffer of a submission; with soft pinning ``presumed`` is its address."""

    _fields_ = (("flags", ctypes.c_uint32), ("handle", ctypes.c_uint32), ("presumed", ctypes.c_uint64))


class Reloc(ctypes.Structure):
    """A word of the stream that is to hold an address."""

    _fields_ = (
        ("submit_offset", ctypes.c_uint32),
        ("index", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
    )


class WaitFence(ctypes.Structure):
    """Wait for a submission."""

    _fields_ = (
        ("pipe", ctypes.c_uint32),
        ("fence", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("timeout", Timespec),
    )


class GemWait(ctypes.Structure):
    """Wait until no job uses a buffer."""

    _fields_ = (
        ("pipe", ctypes.c_uint32),
        ("handle", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("timeout", Timespec),
    )


GET_PARAM = number(READ | WRITE, DRM_COMMAND_BASE + 0, ctypes.sizeof(GetParam))
GEM_NEW = number(READ | WRITE, DRM_COMMAND_BASE + 2, ctypes.sizeof(GemNew))
GEM_INFO = number(READ | WRITE, DRM_COMMAND_BASE + 3, ctypes.sizeof(GemInfo))
CPU_PREP = number(WRITE, DRM_COMMAND_BASE + 4, ctypes.sizeof(CpuPrep))
CPU_FINI = number(WRITE, DRM_COMMAND_BASE + 5, ctypes.sizeof(CpuFini))
SUBMIT = number(READ | WRITE, DRM_COMMAND_BASE + 6, ctypes.sizeof(Submit))
WAIT_FENCE = number(WRITE, DRM_COMMAND_BASE + 7, ctypes.sizeof(WaitFence))
GEM_WAIT = number(WRITE, DRM_COMMAND_BASE + 9, ctypes.sizeof(GemWait))
