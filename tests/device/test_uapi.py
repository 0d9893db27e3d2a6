"""Structure layouts and ioctl numbers, against the values that the kernels' headers give."""

from __future__ import annotations

import ctypes

import pytest

from rocketnpu.device import uapi
from rocketnpu.rockchip.drivers import rknpu_uapi, rocket_uapi

ROCKET = {
    rocket_uapi.CreateBo: (24, {"size": 0, "handle": 4, "dma_address": 8, "offset": 16}),
    rocket_uapi.Submit: (24, {"jobs": 0, "job_count": 8, "job_struct_size": 12, "reserved": 16}),
    rocket_uapi.PrepBo: (16, {"handle": 0, "reserved": 4, "timeout_ns": 8}),
    rocket_uapi.FiniBo: (8, {"handle": 0, "reserved": 4}),
    rocket_uapi.Job: (
        40,
        {
            "tasks": 0,
            "in_handles": 8,
            "out_handles": 16,
            "task_count": 24,
            "task_struct_size": 28,
            "in_count": 32,
            "out_count": 36,
        },
    ),
    rocket_uapi.Task: (8, {"regcmd": 0, "regcmd_count": 4}),
    uapi.GemClose: (8, {"handle": 0, "pad": 4}),
    uapi.Version: (64, {"name_length": 16, "name": 24, "description": 56}),
}
RKNPU = {
    rknpu_uapi.Action: (8, {"flags": 0, "value": 4}),
    rknpu_uapi.MemoryCreate: (
        48,
        {
            "handle": 0,
            "flags": 4,
            "size": 8,
            "object_address": 16,
            "dma_address": 24,
            "sram_size": 32,
            "iommu_domain_id": 40,
            "core_mask": 44,
        },
    ),
    rknpu_uapi.MemoryMap: (16, {"handle": 0, "offset": 8}),
    rknpu_uapi.MemoryDestroy: (16, {"handle": 0, "object_address": 8}),
    rknpu_uapi.MemorySync: (32, {"flags": 0, "object_address": 8, "offset": 16, "size": 24}),
    rknpu_uapi.Submit: (
        104,
        {
            "flags": 0,
            "timeout": 4,
            "task_start": 8,
            "task_number": 12,
            "task_counter": 16,
            "priority": 20,
            "task_object_address": 24,
            "iommu_domain_id": 32,
            "task_base_address": 40,
            "hardware_time": 48,
            "core_mask": 56,
            "fence_fd": 60,
            "subcore_task": 64,
        },
    ),
    rknpu_uapi.Task: (
        40,
        {
            "flags": 0,
            "op_index": 4,
            "enable_mask": 8,
            "int_mask": 12,
            "int_clear": 16,
            "int_status": 20,
            "regcfg_amount": 24,
            "regcfg_offset": 28,
            "regcmd_addr": 32,
        },
    ),
}
NUMBERS = {
    rocket_uapi.CREATE_BO: 0xC0186440,
    rocket_uapi.SUBMIT: 0x40186441,
    rocket_uapi.PREP_BO: 0x40106442,
    rocket_uapi.FINI_BO: 0x40086443,
    uapi.GEM_CLOSE: 0x40086409,
    uapi.VERSION: 0xC0406400,
    rknpu_uapi.ACTION: 0xC0086440,
    rknpu_uapi.SUBMIT: 0xC0686441,
    rknpu_uapi.MEMORY_CREATE: 0xC0306442,
    rknpu_uapi.MEMORY_MAP: 0xC0106443,
    rknpu_uapi.MEMORY_DESTROY: 0xC0106444,
    rknpu_uapi.MEMORY_SYNC: 0xC0206445,
}


@pytest.mark.parametrize(
    ("kind", "layout"), [*ROCKET.items(), *RKNPU.items()], ids=lambda item: getattr(item, "__name__", "")
)
def test_layouts(kind: type[ctypes.Structure], layout: tuple[int, dict[str, int]]) -> None:
    size, offsets = layout
    assert ctypes.sizeof(kind) == size
    assert {name: getattr(kind, name).offset for name in offsets} == offsets


def test_numbers() -> None:
    assert list(NUMBERS) == list(NUMBERS.values())
