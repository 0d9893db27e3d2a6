"""What a command list must satisfy before a kernel driver may see it: the kernel looks at none of this.

A list that breaks one of these rules makes the NPU fault or hang until the kernel's timeout, and the mainline driver
tells nobody (addendum 9.2, rule 2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rocketnpu.device.base import DeviceTask
from rocketnpu.errors import DeviceError, StartRefusedError
from rocketnpu.rockchip.registers.command import ENABLE_BITS, MARKER
from rocketnpu.rockchip.registers.rk3588 import BY_NAME, ENABLE_REGISTER, TARGET_ENABLE, register

ALIGNMENT = 16
"""Bytes; the PC fetches 128-bit beats, and DMA addresses are multiples of an atom (TRM; addendum 9.2)."""
TRAILER = 4
"""Words that end every list: link, amount, marker, enable (spec 1.5)."""
DPU_MASK = 1 << ENABLE_BITS["DPU"]
RDMA_MASK = 1 << ENABLE_BITS["DPU_RDMA"]
CNA_MASK = 1 << ENABLE_BITS["CNA"]
USE_ALU, USE_OW, USE_MUL = 1, 2, 4
"""Bits of BRDMA_DATA_USE: biases, feature offsets, multipliers (addendum 1.2)."""
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


def _fields(words: Words, path: str) -> dict[str, int] | None:
    """Return the fields of a register as a list's last write leaves them; None where the list does not write it."""
    found = register(path)
    key = np.uint64((BY_NAME[found.block].target or 0) << 16 | found.offset)
    writes = words[(words >> np.uint64(48) << np.uint64(16) | words & np.uint64(0xFFFF)) == key]
    return found.decode(int(writes[-1]) >> 16 & 0xFFFFFFFF) if len(writes) else None


def unbalanced_operands(words: Words) -> str:
    """Say which operands BRDMA fetches and BS does not consume, or the other way round; empty where all agree.

    A register that the list does not write holds what an earlier task wrote: nothing is said about it.
    """
    names = ("DPU_RDMA.RDMA_BRDMA_CFG", "DPU.BS_CFG", "DPU.BS_MUL_CFG", "DPU.BS_OW_CFG")
    fetch, stage, multiplier, feature = (_fields(words, path) for path in names)
    if fetch is None or stage is None or multiplier is None or feature is None:
        return ""
    on = not stage["BS_BYPASS"]
    consumed = (
        (USE_ALU, on and not stage["BS_ALU_BYPASS"] and stage["BS_ALU_SRC"]),
        (USE_OW, feature["OW_SRC"] and not feature["OD_BYPASS"]),
        (USE_MUL, on and not stage["BS_MUL_BYPASS"] and multiplier["BS_MUL_SRC"]),
    )
    wanted = sum(bit for bit, used in consumed if used)
    use = fetch["BRDMA_DATA_USE"]
    return "" if use == wanted else f"BRDMA_DATA_USE is {use}, but BS consumes {wanted}"


def is_flying(enable_mask: int) -> bool:
    """Say whether a task is a flying one: the DPU with its reader, without a convolution in front."""
    return bool(enable_mask & DPU_MASK and enable_mask & RDMA_MASK and not enable_mask & CNA_MASK)


def check_start(task: DeviceTask, device: str, allowed: bool) -> None:
    """Check the task that a start of the hardware begins with: each one with mainline, the first of a chain else.

    A flying look-up that was started by itself behind a convolution hung RK3588s until their power was cut (outside
    2.5). A core's state outlives a job and a process until it is suspended, so whatever a job itself holds, its first
    task counts as following a convolution.

    Args:
        task: what is about to be started.
        device: name of the device, for the message.
        allowed: whether the rule ``flying-start`` was proven on this board.

    Raises:
        StartRefusedError: it is a flying task, and nobody has seen those start by themselves on this board.
    """
    if is_flying(task.kind) and not allowed:
        raise StartRefusedError(
            f"{device}: the task at 0x{task.address:x} works on memory without a convolution (a flying task), and "
            "would be started by itself: behind a convolution of whoever used the core before, that may hang the board "
            "until its power is cut (rule flying-start). `rocketnpu selftest --rules --risky` can prove that it does "
            "not here"
        )


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
    left = unbalanced_operands(words) if mask & RDMA_MASK else ""
    if left:
        raise DeviceError(f"{place}: {left}; what stays behind hung a later task of the core (outside 2.6a)")
    for bit, name, value in address_writes(words):
        unused = not mask >> bit & 1 or (value == 0 and name not in _ALWAYS_USED)
        if not unused and (value % ALIGNMENT or not owns(value, ALIGNMENT)):
            raise DeviceError(f"{place}: {name} = 0x{value:x} is not an aligned address inside this device's buffers")
