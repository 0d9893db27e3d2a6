"""What a command list must satisfy before a kernel driver may see it: the kernel looks at none of this.

A list that breaks one of these rules makes the NPU fault or hang until the kernel's timeout, and the mainline driver
tells nobody (addendum 9.2, rule 2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rocketnpu.device.base import DeviceTask
from rocketnpu.errors import DeviceError
from rocketnpu.rockchip.registers.command import ENABLE_BITS, MARKER
from rocketnpu.rockchip.registers.rk3588 import BY_NAME, ENABLE_REGISTER, TARGET_ENABLE

ALIGNMENT = 16
"""Bytes; the PC fetches 128-bit beats, and DMA addresses are multiples of an atom (TRM; addendum 9.2)."""
TRAILER = 4
"""Words that end every list: link, amount, marker, enable (spec 1.5)."""
DPU_MASK = 1 << ENABLE_BITS["DPU"]
_ADDRESS_REGISTERS = {
    "CNA": ("FEATURE_DATA_ADDR", "DCOMP_ADDR0"),
    "DPU": ("DST_BASE_ADDR",),
    "DPU_RDMA": ("RDMA_SRC_BASE_ADDR", "RDMA_BS_BASE_ADDR", "RDMA_BN_BASE_ADDR", "RDMA_EW_BASE_ADDR"),
    "PPU": ("DST_BASE_ADDR",),
    "PPU_RDMA": ("RDMA_SRC_BASE_ADDR",),
}
_ADDRESSES = {
    (unit.target or 0) << 16 | unit[name].offset: (unit.enable_bit or 0, f"{unit.name}.{name}")
    for unit, name in ((BY_NAME[unit], name) for unit, names in _ADDRESS_REGISTERS.items() for name in names)
}
"""Target and offset of each register that holds a memory address: its unit's enable bit, and its name."""
_OUTPUTS = ("DPU.DST_BASE_ADDR", "PPU.DST_BASE_ADDR")
_ALWAYS_USED = frozenset({"CNA.FEATURE_DATA_ADDR", "CNA.DCOMP_ADDR0", "DPU.DST_BASE_ADDR", "PPU.DST_BASE_ADDR"})
"""Addresses that a started unit uses in any case; in the others 0 stands for an operand that is off."""
_KEYS = np.array(sorted(_ADDRESSES), np.uint64)

Words = npt.NDArray[np.uint64]


def address_writes(words: Words) -> list[tuple[int, str, int]]:
    """Return enable bit, register name and value of each address that a list writes."""
    keys = words >> np.uint64(48) << np.uint64(16) | words & np.uint64(0xFFFF)
    found = np.flatnonzero(np.isin(keys, _KEYS))
    values = words[found] >> np.uint64(16) & np.uint64(0xFFFFFFFF)
    return [(*_ADDRESSES[int(key)], int(value)) for key, value in zip(keys[found], values, strict=True)]


def output_addresses(words: Words, mask: int) -> list[int]:
    """Return the addresses of the writers that a list with this enable mask starts."""
    return [value for bit, name, value in address_writes(words) if name in _OUTPUTS and mask >> bit & 1]


def check_task(task: DeviceTask, words: Words, owns: Callable[[int, int], bool], *, dpu_required: bool) -> None:
    """Check one command list.

    Args:
        task: what is about to be submitted.
        words: the ``task.words`` words at its address.
        owns: says whether an address and so many bytes lie in the device's own buffers.
        dpu_required: whether the kernel waits for the DPU's interrupt alone.

    Raises:
        DeviceError: it breaks a rule; the message says which, where, and the value found.
    """
    place = f"command list at 0x{task.address:x} ({task.words} words)"
    if task.address % ALIGNMENT:
        raise DeviceError(f"{place}: its address is not a multiple of {ALIGNMENT}")
    last = int(words[-1])
    enables = last >> 48 == TARGET_ENABLE and last & 0xFFFF == ENABLE_REGISTER
    if len(words) < TRAILER or int(words[-2]) != MARKER or not enables:
        raise DeviceError(f"{place}: it does not end with a marker and an enable word, so nothing would start")
    mask = last >> 16 & 0xFFFFFFFF
    if mask != task.kind:
        raise DeviceError(f"{place}: its enable word is 0x{mask:x}, the task says 0x{task.kind:x}")
    if dpu_required and not mask & DPU_MASK:
        raise DeviceError(
            f"{place}: it does not use the DPU (enable 0x{mask:x}), and the kernel waits for the DPU's interrupt "
            "alone, so it would time out; compile pooling for this driver as DPU work"
        )
    for bit, name, value in address_writes(words):
        unused = not mask >> bit & 1 or (value == 0 and name not in _ALWAYS_USED)
        if not unused and (value % ALIGNMENT or not owns(value, ALIGNMENT)):
            raise DeviceError(f"{place}: {name} = 0x{value:x} is not an aligned address inside this device's buffers")
