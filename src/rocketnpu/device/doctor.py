"""What this machine has for running an NPU, found in the places where Linux tells it.

Everything is read below one root folder, so that a test can lay out another machine.
"""

from __future__ import annotations

import ctypes.util
import platform
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from rocketnpu.device.calls import Calls, SystemCalls
from rocketnpu.device.nodes import find_node
from rocketnpu.errors import DeviceError
from rocketnpu.litert import ADVICE, PACKAGE
from rocketnpu.rockchip.drivers.rknpu import RknpuDevice
from rocketnpu.rockchip.drivers.rocket import RocketDevice

State = Literal["good", "note", "bad"]
MAINLINE_KERNEL = (6, 18)
"""First Linux with the rocket driver."""
SLOW_CLOCK, FAST_CLOCK = 200_000_000, 1_000_000_000
"""Hz; mainline leaves the NPU at the device tree's rate, the vendor's kernel runs 1 GHz (addendum 9.1)."""
ENOUGH_MEMORY = 256 << 20
"""Bytes; what a network the size of MobileNet needs, with its interpreter, several times over."""
_COMPATIBLE = re.compile(r"rockchip,(rk3588s?|rk3583|rk3582)\b")


@dataclass(frozen=True)
class Fact:
    """One line of the report."""

    name: str
    state: State
    found: str
    advice: str = ""
    """What to do; empty where nothing needs to be done."""


class Machine:
    """Where facts are looked up."""

    def __init__(self, root: Path = Path("/"), release: str = "", calls: Calls | None = None) -> None:
        """Look below ``root``; ``release`` is the kernel's, this machine's where not given."""
        self.root, self.release, self.calls = root, release or platform.release(), calls or SystemCalls()

    def text(self, path: str) -> str:
        """Return a file's text, empty if it cannot be read."""
        try:
            return (self.root / path).read_bytes().decode(errors="replace").replace("\0", "\n").strip()
        except OSError:
            return ""


def examine(machine: Machine | None = None) -> list[Fact]:
    """Look at everything; one fact a line of the report, in the order in which it should be read."""
    where = machine or Machine()
    checks: tuple[Callable[[Machine], Fact], ...] = (
        *(_soc, _kernel, _module, _node, _permissions, _clock, _iommu, _memory),
        *(_delegate, _litert, _compiler),
    )
    facts = [check(where) for check in checks]
    if not _is_board(where):
        emulated = usable(facts)
        facts = [_elsewhere(fact, emulated) for fact in facts]
    return facts


def _is_board(machine: Machine) -> bool:
    return _COMPATIBLE.search(machine.text("proc/device-tree/compatible")) is not None


def _elsewhere(fact: Fact, emulated: bool) -> Fact:
    """Leave out what only the owner of a board can do."""
    if fact.name == "permissions" and emulated:
        return Fact(fact.name, "good", "the emulated node needs none")
    if fact.name in ("clock", "IOMMU") or (fact.name == "SoC" and emulated):
        return replace(fact, advice="")
    return fact


def usable(facts: list[Fact]) -> bool:
    """Say whether a program can use an NPU on this machine."""
    return any(fact.name == "node" and fact.state == "good" for fact in facts)


def _soc(machine: Machine) -> Fact:
    compatible = machine.text("proc/device-tree/compatible")
    model = machine.text("proc/device-tree/model") or platform.machine()
    found = _COMPATIBLE.search(compatible)
    if found:
        return Fact("SoC", "good", f"{found[1].upper()}, {model}")
    advice = "an NPU needs a board with an RK3588"
    return Fact("SoC", "note", f"not an RK3588: {model}", advice)


def _kernel(machine: Machine) -> Fact:
    numbers = re.match(r"(\d+)\.(\d+)", machine.release)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    if not _is_board(machine):
        return Fact("kernel", "note", f"{machine.release} (on this machine no driver has an NPU to drive)")
    if version >= MAINLINE_KERNEL:
        return Fact("kernel", "good", f"{machine.release} (can have the rocket driver)")
    if version in ((5, 10), (6, 1)):
        return Fact("kernel", "good", f"{machine.release} (a version that vendors ship with the rknpu driver)")
    wanted = ".".join(map(str, MAINLINE_KERNEL))
    return Fact(
        "kernel", "note", machine.release, f"rocket needs Linux {wanted} or newer; rknpu a vendor's 5.10 or 6.1"
    )


def _module(machine: Machine) -> Fact:
    loaded = {line.split()[0] for line in machine.text("proc/modules").splitlines() if line}
    for name in ("rocket", "rknpu"):
        if name in loaded:
            return Fact("module", "good", f"{name} is loaded")
        if any((machine.root / place / name).exists() for place in ("sys/module", "sys/bus/platform/drivers")):
            return Fact("module", "good", f"{name} is built into the kernel")
    if not _is_board(machine):
        return Fact("module", "note", "neither rocket nor rknpu")
    advice = "try `modprobe rocket`; if there is none, the kernel needs CONFIG_DRM_ACCEL_ROCKET"
    return Fact("module", "note", "neither rocket nor rknpu", advice)


def _node(machine: Machine) -> Fact:
    reasons: dict[str, list[str]] = {}
    for kind in (RocketDevice, RknpuDevice):
        try:
            path, descriptor = find_node(machine.calls, kind.nodes, kind.name)
        except DeviceError as error:
            reason = str(error).partition("; `rocketnpu doctor`")[0].partition(f"{kind.name!r}: ")[2]
            reasons.setdefault(reason, []).append(kind.name)
            continue
        machine.calls.close(descriptor)
        emulated = "" if _is_board(machine) else " (no RK3588: an emulated node)"
        return Fact("node", "good", f"{path}, driver {kind.name}{emulated}")
    told = [f"no NPU with the driver {' or '.join(names)}: {reason}" for reason, names in reasons.items()]
    if not _is_board(machine):
        return Fact("node", "bad", "; ".join(told))
    advice = 'load the module; in the device tree the nodes rknn_core_0..2 need status = "okay"'
    return Fact("node", "bad", "; ".join(told), advice)


def _permissions(machine: Machine) -> Fact:
    nodes = [*sorted((machine.root / "dev/accel").glob("accel*")), *sorted((machine.root / "dev/dri").glob("renderD*"))]
    if not nodes:
        return Fact("permissions", "note", "there is no accel or render node to have permissions for")
    refused = []
    for node in nodes:
        try:
            with node.open("r+b", buffering=0):
                pass
        except PermissionError:
            refused.append(f"/{node.relative_to(machine.root)}")
        except OSError:
            continue
    if refused:
        return Fact(
            "permissions",
            "bad",
            f"no access to {', '.join(refused)}",
            "sudo usermod -aG render $USER, then log in again",
        )
    return Fact("permissions", "good", f"{len(nodes)} nodes can be opened")


def _clock(machine: Machine) -> Fact:
    rates = {}
    for name in ("clk_npu_dsu0", "scmi_clk_npu", "aclk_npu0"):
        text = machine.text(f"sys/kernel/debug/clk/{name}/clk_rate")
        if text.isdigit():
            rates[name] = int(text)
    devfreq = [path.read_text().strip() for path in (machine.root / "sys/class/devfreq").glob("*npu*/cur_freq")]
    rate = int(devfreq[0]) if devfreq and devfreq[0].isdigit() else max(rates.values(), default=0)
    advice = (
        "mainline leaves the NPU at 200 MHz: ask for a higher rate in the device tree (assigned-clock-rates of the "
        "rknn_core nodes; 600 MHz is reported to work without a change of voltage), or use the vendor's kernel (1 GHz)"
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


def _memory(machine: Machine) -> Fact:
    found = re.search(r"MemAvailable:\s+(\d+) kB", machine.text("proc/meminfo"))
    free = int(found[1]) * 1024 if found else 0
    text = f"{free >> 20} MiB available"
    if free >= ENOUGH_MEMORY:
        return Fact("memory", "good", text)
    return Fact("memory", "note", text, f"{ENOUGH_MEMORY >> 20} MiB or more are comfortable")


def _delegate(machine: Machine) -> Fact:
    folders = (machine.root / "usr/lib", *(machine.root / "usr/lib").glob("*-linux-gnu*"))
    libraries = [path for folder in folders if (path := folder / "teflon/libteflon.so").exists()]
    own = ctypes.util.find_library("rocketnpu_delegate")
    mesa = f"; Mesa's at /{libraries[0].relative_to(machine.root)}" if libraries else ""
    if own:
        return Fact("delegate", "good", f"{own}{mesa}")
    return Fact(
        "delegate", "note", f"no delegate library in the system's paths{mesa}", "`rocketnpu build-delegate` makes one"
    )


def _litert(machine: Machine) -> Fact:
    del machine
    try:
        return Fact("LiteRT", "good", f"{PACKAGE} {version(PACKAGE)}")
    except PackageNotFoundError:
        return Fact("LiteRT", "note", "not installed; `classify` and `compare` need it", ADVICE)


def _compiler(machine: Machine) -> Fact:
    del machine
    found = shutil.which("gcc") or shutil.which("cc")
    if found:
        return Fact("C compiler", "good", found)
    return Fact("C compiler", "note", "none", "`rocketnpu emulate` and `build-delegate` need gcc")
