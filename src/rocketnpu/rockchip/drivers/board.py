"""What the owner of a board with this chip should know of it: kernel, module, clock, IOMMU."""

from __future__ import annotations

import re

from rocketnpu.device.machine import Fact, Machine

MAINLINE_KERNEL = (6, 18)
"""First Linux with the rocket driver."""
KERNELS_WITH_ROCKET = (
    "the kernel needs CONFIG_DRM_ACCEL=y and CONFIG_DRM_ACCEL_ROCKET=m: Debian's own have neither (as of 7.2), "
    "Armbian's for rockchip64 have both from 6.18 on"
)
"""Debian: the configuration in linux-headers-7.2.13+deb14-arm64. Armbian: what board owners published of 6.18.43."""
SLOW_CLOCK, FAST_CLOCK = 200_000_000, 1_000_000_000
"""Hz; mainline leaves the NPU at the device tree's rate, the vendor's kernel runs 1 GHz (addendum 9.1)."""


def board_facts(machine: Machine) -> tuple[Fact, ...]:
    """Look at what only such a board has."""
    return (_kernel(machine), _module(machine), _clock(machine), _iommu(machine))


def _kernel(machine: Machine) -> Fact:
    numbers = re.match(r"(\d+)\.(\d+)", machine.release)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    if version >= MAINLINE_KERNEL:
        return _mainline(machine)
    if version in ((5, 10), (6, 1)):
        return Fact("kernel", "good", f"{machine.release} (a version that vendors ship with the rknpu driver)")
    wanted = ".".join(map(str, MAINLINE_KERNEL))
    return Fact(
        "kernel", "note", machine.release, f"rocket needs Linux {wanted} or newer; rknpu a vendor's 5.10 or 6.1"
    )


def _mainline(machine: Machine) -> Fact:
    """Look at what the kernel was built with, where the distribution tells it."""
    config = machine.text(f"boot/config-{machine.release}").splitlines()
    if config and not any(line.startswith("CONFIG_DRM_ACCEL_ROCKET=") for line in config):
        return Fact("kernel", "note", f"{machine.release} (built without the rocket driver)", KERNELS_WITH_ROCKET)
    return Fact("kernel", "good", f"{machine.release} (can have the rocket driver)")


def _module(machine: Machine) -> Fact:
    loaded = {line.split()[0] for line in machine.text("proc/modules").splitlines() if line}
    for name in ("rocket", "rknpu"):
        if name in loaded:
            return Fact("module", "good", f"{name} is loaded")
        if any((machine.root / place / name).exists() for place in ("sys/module", "sys/bus/platform/drivers")):
            return Fact("module", "good", f"{name} is built into the kernel")
    advice = f"try `modprobe rocket`; if there is none: {KERNELS_WITH_ROCKET}"
    return Fact("module", "note", "neither rocket nor rknpu", advice)


def _clock(machine: Machine) -> Fact:
    rates = {}
    for name in ("clk_npu_dsu0", "scmi_clk_npu", "aclk_npu0"):
        text = machine.text(f"sys/kernel/debug/clk/{name}/clk_rate")
        if text.isdigit():
            rates[name] = int(text)
    found = (machine.root / "sys/class/devfreq").glob("*npu*/cur_freq")
    devfreq = [machine.text(str(path.relative_to(machine.root))) for path in found]
    rate = int(devfreq[0]) if devfreq and devfreq[0].isdigit() else max(rates.values(), default=0)
    advice = (
        "mainline leaves the NPU at 200 MHz, a fifth of what it can do (MobileNetV1 about 11 ms instead of 4 at 800 "
        "MHz): `rocketnpu doctor --overlay npu-clock.dts` writes a device-tree overlay, or use the vendor's kernel"
    )
    if not rate:
        return Fact("clock", "note", "unknown (needs root and a mounted debugfs, or devfreq)", advice)
    slow = rate <= SLOW_CLOCK
    share = f"{rate / 1e6:.0f} MHz of at most {FAST_CLOCK / 1e6:.0f}"
    return Fact("clock", "note" if slow else "good", share, advice if slow else "")


def _iommu(machine: Machine) -> Fact:
    groups = [path for path in (machine.root / "sys/kernel/iommu_groups").glob("*/devices/*") if "npu" in path.name]
    if groups:
        return Fact("IOMMU", "good", f"{len(groups)} NPU devices behind it")
    return Fact(
        "IOMMU", "note", "no NPU device is in an IOMMU group", "the rocket driver needs the NPU's IOMMU nodes enabled"
    )
