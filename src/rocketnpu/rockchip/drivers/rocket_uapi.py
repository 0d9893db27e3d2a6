"""Kernel interface of the mainline ``rocket`` driver (Linux 6.18 and newer), declared once.

Source: ``include/uapi/drm/rocket_accel.h``, as the project's ``uapi.md`` restates it; its sizes and offsets are checked
by ``tests/device/test_uapi.py``.
"""

from __future__ import annotations

import ctypes

from rocketnpu.device.uapi import DRM_COMMAND_BASE, READ, WRITE, number

DRIVER = "rocket"
"""Name that DRM_IOCTL_VERSION reports."""
JOB_TIMEOUT = 0.5
"""Seconds after which the kernel resets the core of a job (JOB_TIMEOUT_MS in rocket_job.c)."""
PAGE = 4096
"""Allocation granularity of addresses (drm_mm insertion with PAGE_SIZE alignment in rocket_gem.c)."""


class CreateBo(ctypes.Structure):
    """Allocate a buffer: size in; handle, NPU address and offset for mmap out."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("handle", ctypes.c_uint32),
        ("dma_address", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
    )


class Submit(ctypes.Structure):
    """Queue an array of jobs."""

    _fields_ = (
        ("jobs", ctypes.c_uint64),
        ("job_count", ctypes.c_uint32),
        ("job_struct_size", ctypes.c_uint32),
        ("reserved", ctypes.c_uint64),
    )


class PrepBo(ctypes.Structure):
    """Wait for the jobs that write a buffer, then make it visible to the CPU."""

    _fields_ = (
        ("handle", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("timeout_ns", ctypes.c_int64),
    )


class FiniBo(ctypes.Structure):
    """Hand a buffer to the device."""

    _fields_ = (("handle", ctypes.c_uint32), ("reserved", ctypes.c_uint32))


class Job(ctypes.Structure):
    """Tasks that run in order on one core, and the buffers that order it among other jobs."""

    _fields_ = (
        ("tasks", ctypes.c_uint64),
        ("in_handles", ctypes.c_uint64),
        ("out_handles", ctypes.c_uint64),
        ("task_count", ctypes.c_uint32),
        ("task_struct_size", ctypes.c_uint32),
        ("in_count", ctypes.c_uint32),
        ("out_count", ctypes.c_uint32),
    )


class Task(ctypes.Structure):
    """One command list: its address, and its length in 64-bit words."""

    _fields_ = (("regcmd", ctypes.c_uint32), ("regcmd_count", ctypes.c_uint32))


CREATE_BO = number(READ | WRITE, DRM_COMMAND_BASE + 0, ctypes.sizeof(CreateBo))
SUBMIT = number(WRITE, DRM_COMMAND_BASE + 1, ctypes.sizeof(Submit))
PREP_BO = number(WRITE, DRM_COMMAND_BASE + 2, ctypes.sizeof(PrepBo))
FINI_BO = number(WRITE, DRM_COMMAND_BASE + 3, ctypes.sizeof(FiniBo))
