"""What the owner of a board with such a chip should know of it: kernel, module, and the device tree's node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from rocketnpu.device.machine import Fact, Machine

KERNEL_NEEDS = (
    "the kernel needs CONFIG_DRM_ETNAVIV, and the etnaviv driver version 1.4 or newer, which tells an NPU's product id"
)
"""Facts 2."""
EXPERIMENTAL = "its interface for NPUs is experimental"
"""As the kernel says when it finds one (facts 2)."""
_NODES = ("npu@*", "*/npu@*", "*/*/npu@*")
"""Mainline: ``/npu@ff100000`` in meson-g12-common.dtsi, ``/soc@0/npu@38500000`` in imx8mp.dtsi."""


def board_facts(machine: Machine) -> tuple[Fact, ...]:
    """Look at what only such a board has."""
    return (_kernel(machine), _module(machine), _tree(machine))


def _kernel(machine: Machine) -> Fact:
    config = machine.text(f"boot/config-{machine.release}")
    if config and not re.search(r"^CONFIG_DRM_ETNAVIV=[ym]$", config, re.MULTILINE):
        return Fact("kernel", "note", f"{machine.release} (built without the etnaviv driver)", KERNEL_NEEDS)
    return Fact("kernel", "note", f"{machine.release} (the etnaviv driver; {EXPERIMENTAL})")


def _module(machine: Machine) -> Fact:
    loaded = {line.split()[0] for line in machine.text("proc/modules").splitlines() if line}
    built_in = any((machine.root / place / "etnaviv").exists() for place in ("sys/module", "sys/bus/platform/drivers"))
    if "etnaviv" in loaded or built_in:
        return Fact("module", "good", "etnaviv is there")
    if "galcore" in loaded:
        return Fact(
            "module",
            "note",
            "galcore, the vendor's driver, which nothing here speaks to",
            f"boot a mainline kernel, where the NPU is etnaviv's; {KERNEL_NEEDS}",
        )
    return Fact("module", "note", "no etnaviv", f"try `modprobe etnaviv`; if there is none: {KERNEL_NEEDS}")


def _tree(machine: Machine) -> Fact:
    """Look at the device tree: mainline's has the A311D's NPU switched off unless the board's own file says else."""
    off = []
    for node in _npu_nodes(machine):
        place = f"/{node.relative_to(machine.root / 'proc/device-tree')}"
        status = machine.text(str((node / "status").relative_to(machine.root)))
        if status in ("", "okay", "ok"):
            return Fact("device tree", "good", f"the NPU's node {place} is on")
        off.append(f"{place} ({status})")
    if off:
        advice = 'a device-tree overlay must set its status = "okay"; without that the driver sees no NPU'
        return Fact("device tree", "note", f"the NPU's node is switched off: {', '.join(off)}", advice)
    return Fact("device tree", "note", "no node of an NPU", "this kernel's device tree does not have the NPU")


def _npu_nodes(machine: Machine) -> Iterator[Path]:
    tree = machine.root / "proc/device-tree"
    for pattern in _NODES:
        for node in sorted(tree.glob(pattern)):
            if "vivante,gc" in machine.text(str((node / "compatible").relative_to(machine.root))).split():
                yield node
