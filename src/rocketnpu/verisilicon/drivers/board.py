"""What the owner of a board with such a chip should know of it: kernel and module."""

from __future__ import annotations

from rocketnpu.device.machine import Fact, Machine


def board_facts(machine: Machine) -> tuple[Fact, ...]:
    """Look at what only such a board has."""
    loaded = {line.split()[0] for line in machine.text("proc/modules").splitlines() if line}
    built_in = any((machine.root / place / "etnaviv").exists() for place in ("sys/module", "sys/bus/platform/drivers"))
    kernel = Fact("kernel", "note", f"{machine.release} (the etnaviv driver; its interface for NPUs is experimental)")
    if "etnaviv" in loaded or built_in:
        return (kernel, Fact("module", "good", "etnaviv is there"))
    return (kernel, Fact("module", "note", "no etnaviv", "try `modprobe etnaviv`"))
