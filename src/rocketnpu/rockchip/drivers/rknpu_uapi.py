"""Kernel interface of Rockchip's vendor driver ``rknpu`` (kernels 5.10 and 6.1, driver 0.9.x), declared once.

Source: addendum 9.3, from the vendor kernel's ``rknpu_ioctl.h``; sizes and offsets are checked by
``tests/device/test_uapi.py``.
"""

from __future__ import annotations

import ctypes

from rocketnpu.device.uapi import DRM_COMMAND_BASE, READ, WRITE, number

DRIVER = "rknpu"
"""Name that DRM_IOCTL_VERSION reports."""

CORE_AUTO = 0
"""core_mask: the least loaded core. The others that work are 1, 2, 4, 3 and 7 (addendum 9.4)."""

MEMORY_CACHEABLE = 1 << 1
MEMORY_NON_CONTIGUOUS = 1 << 0
MEMORY_KERNEL_MAPPING = 1 << 3
"""Needed by the task buffer: the kernel reads tasks through its own mapping without a check (addendum 9.5)."""
MEMORY_ZEROING = 1 << 5
MEMORY_LIMIT_IOVA_ALIGNMENT = 1 << 10

SYNC_TO_DEVICE, SYNC_FROM_DEVICE = 1, 2

JOB_PC = 1 << 0
"""The PC fetches the commands; mandatory."""
JOB_PINGPONG = 1 << 2
"""Sets TASK_PP_EN, as the vendor's runtime does (addendum 9.4)."""

INTERRUPT_DPU, INTERRUPT_PPU = 0x300, 0xC00
"""Completion bits of both register groups; the last task's mask must be exactly one of them (addendum 9.4)."""

ACTION_HARDWARE_VERSION, ACTION_DRIVER_VERSION, ACTION_FREQUENCY, ACTION_RESET = 0, 1, 2, 6
ACTION_IOMMU = 18

MAX_TASKS = 4095
"""Tasks of one start; longer jobs are started in pieces by the kernel (addendum 9.4)."""
SUBCORES = 5


class Action(ctypes.Structure):
    """Ask or tell the driver something small."""

    _fields_ = (("flags", ctypes.c_uint32), ("value", ctypes.c_uint32))


class MemoryCreate(ctypes.Structure):
    """Allocate; ``object_address`` is a kernel pointer, to be passed back unchanged."""

    _fields_ = (
        ("handle", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("size", ctypes.c_uint64),
        ("object_address", ctypes.c_uint64),
        ("dma_address", ctypes.c_uint64),
        ("sram_size", ctypes.c_uint64),
        ("iommu_domain_id", ctypes.c_int32),
        ("core_mask", ctypes.c_uint32),
    )


class MemoryMap(ctypes.Structure):
    """Ask for the offset for mmap."""

    _fields_ = (("handle", ctypes.c_uint32), ("reserved", ctypes.c_uint32), ("offset", ctypes.c_uint64))


class MemoryDestroy(ctypes.Structure):
    """Free."""

    _fields_ = (("handle", ctypes.c_uint32), ("reserved", ctypes.c_uint32), ("object_address", ctypes.c_uint64))


class MemorySync(ctypes.Structure):
    """Flush or invalidate a range of a cacheable buffer."""

    _fields_ = (
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("object_address", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
    )


class SubcoreTask(ctypes.Structure):
    """Tasks of one core."""

    _fields_ = (("start", ctypes.c_uint32), ("number", ctypes.c_uint32))


class Submit(ctypes.Structure):
    """Run tasks; returns when they are done, unless told otherwise."""

    _fields_ = (
        ("flags", ctypes.c_uint32),
        ("timeout", ctypes.c_uint32),
        ("task_start", ctypes.c_uint32),
        ("task_number", ctypes.c_uint32),
        ("task_counter", ctypes.c_uint32),
        ("priority", ctypes.c_int32),
        ("task_object_address", ctypes.c_uint64),
        ("iommu_domain_id", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("task_base_address", ctypes.c_uint64),
        ("hardware_time", ctypes.c_int64),
        ("core_mask", ctypes.c_uint32),
        ("fence_fd", ctypes.c_int32),
        ("subcore_task", SubcoreTask * SUBCORES),
    )


class Task(ctypes.Structure):
    """One command list, as it lies in the task buffer. ``regcfg_amount`` leaves the four trailer words out."""

    _pack_ = 1
    _layout_ = "ms"  # what packing means to ctypes; Python 3.14 wants it said
    _fields_ = (
        ("flags", ctypes.c_uint32),
        ("op_index", ctypes.c_uint32),
        ("enable_mask", ctypes.c_uint32),
        ("int_mask", ctypes.c_uint32),
        ("int_clear", ctypes.c_uint32),
        ("int_status", ctypes.c_uint32),
        ("regcfg_amount", ctypes.c_uint32),
        ("regcfg_offset", ctypes.c_uint32),
        ("regcmd_addr", ctypes.c_uint64),
    )


ACTION = number(READ | WRITE, DRM_COMMAND_BASE + 0, ctypes.sizeof(Action))
SUBMIT = number(READ | WRITE, DRM_COMMAND_BASE + 1, ctypes.sizeof(Submit))
MEMORY_CREATE = number(READ | WRITE, DRM_COMMAND_BASE + 2, ctypes.sizeof(MemoryCreate))
MEMORY_MAP = number(READ | WRITE, DRM_COMMAND_BASE + 3, ctypes.sizeof(MemoryMap))
MEMORY_DESTROY = number(READ | WRITE, DRM_COMMAND_BASE + 4, ctypes.sizeof(MemoryDestroy))
MEMORY_SYNC = number(READ | WRITE, DRM_COMMAND_BASE + 5, ctypes.sizeof(MemorySync))
