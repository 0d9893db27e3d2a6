"""What this machine has for running an NPU, found in the places where Linux tells it."""

from __future__ import annotations

import ctypes.util
import platform
import re
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rocketnpu.device.around import board_of
from rocketnpu.device.base import Driver
from rocketnpu.device.calls import is_emulated
from rocketnpu.device.discover import driver_names, drivers
from rocketnpu.device.machine import Fact, Machine
from rocketnpu.device.nodes import find_node
from rocketnpu.errors import DeviceError
from rocketnpu.family import Family, chips, family_of
from rocketnpu.libpython import advice, shared_python
from rocketnpu.litert import ADVICE, PACKAGE

ENOUGH_MEMORY = 256 << 20
"""Bytes; what a network the size of MobileNet needs, with its interpreter, several times over."""
UDEV_RULE = 'SUBSYSTEM=="accel", KERNEL=="accel[0-9]*", GROUP="render", MODE="0660"'
"""What Debian 13's udev does by itself; the Debian package brings it for Debian 12."""


def examine(machine: Machine | None = None) -> list[Fact]:
    """Look at everything; one fact a line of the report, in the order in which it should be read."""
    where = machine or Machine()
    board = board_of(where)
    particular = {fact.name: fact for fact in board.board_facts(where)} if board else _elsewhere(where)
    node = _node(where, board)
    permissions = _permissions(where)
    if board is None and node.state == "good" and is_emulated(where.calls):
        permissions = Fact("permissions", "good", "the emulated node needs none")
    facts = [_soc(where, board, node), particular.pop("kernel"), particular.pop("module"), node, permissions]
    return [*facts, *particular.values(), _memory(where), _delegate(where), _libpython(), _litert(), _compiler()]


def _soc(machine: Machine, board: Family | None, node: Fact) -> Fact:
    model = machine.text("proc/device-tree/model") or platform.machine()
    if board is not None:
        return Fact("SoC", "good", f"{board.title}, {model}")
    titles = ", ".join(family_of(chip).title for chip in chips())
    advice = "" if node.state == "good" else f"an NPU needs a board with one of these chips: {titles}"
    return Fact("SoC", "note", f"none with an NPU that is known here: {model}", advice)


def _elsewhere(machine: Machine) -> dict[str, Fact]:
    """Say of kernel and modules what can be said without a board."""
    loaded = {line.split()[0] for line in machine.text("proc/modules").splitlines() if line}
    names = driver_names()
    found = [name for name in names if name in loaded]
    return {
        "kernel": Fact("kernel", "note", f"{machine.release} (on this machine no driver has an NPU to drive)"),
        "module": Fact("module", "note", f"{', '.join(found)} loaded" if found else f"none of {', '.join(names)}"),
    }


def _node(machine: Machine, board: Family | None) -> Fact:
    reasons: dict[str, dict[str, None]] = {}
    for driver in drivers():
        try:
            path, descriptor = find_node(machine.calls, driver.nodes, driver.name, driver.refusal)
        except DeviceError as error:
            reasons.setdefault(_reason(error, driver), {})[driver.name] = None
            continue
        machine.calls.close(descriptor)
        kind = " (this machine's device tree names no chip with it: a virtual board, or a new one)"
        if is_emulated(machine.calls):
            kind = " (an emulated node)"
        if board is not None:
            kind = ""
        return Fact("node", "good", f"{path}, driver {driver.name}{kind}")
    told = [f"no NPU with the driver {' or '.join(names)}: {reason}" for reason, names in reasons.items()]
    return Fact("node", "bad", "; ".join(told), board.node_advice if board else "")


def _reason(error: DeviceError, driver: Driver) -> str:
    return str(error).partition("; `rocketnpu doctor`")[0].partition(f"{driver.name!r}: ")[2]


def usable(facts: list[Fact]) -> bool:
    """Say whether a program can use an NPU on this machine."""
    return any(fact.name == "node" and fact.state == "good" for fact in facts)


def _permissions(machine: Machine) -> Fact:
    nodes = [*sorted((machine.root / "dev/accel").glob("accel*")), *sorted((machine.root / "dev/dri").glob("renderD*"))]
    if not nodes:
        return Fact("permissions", "note", "there is no accel or render node to have permissions for")
    refused = [node for node in nodes if _is_refused(node)]
    if refused:
        told = ", ".join(f"/{node.relative_to(machine.root)} (group {_group(node)})" for node in refused)
        return Fact("permissions", "bad", f"no access to {told}", _way_in({_group(node) for node in refused}))
    return Fact("permissions", "good", f"{len(nodes)} nodes can be opened")


def _is_refused(node: Path) -> bool:
    try:
        with node.open("r+b", buffering=0):
            return False
    except PermissionError:
        return True
    except OSError:
        return False


def _group(node: Path) -> str:
    try:
        return node.group()
    except (KeyError, OSError):  # no such group, or the node has gone
        return "unknown"


def _way_in(groups: set[str]) -> str:
    """Say how a user is let in to nodes of these groups. A node of root's has no rule: Debian 12's udev has none."""
    join = f"sudo usermod -aG {','.join(sorted(groups - {'root'}) or ['render'])} $USER, then log in again"
    if "root" not in groups:
        return join
    return f"put the line {UDEV_RULE} into /etc/udev/rules.d/60-rocketnpu.rules; sudo udevadm trigger; {join}"


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


def _libpython() -> Fact:
    found = shared_python()
    if found is not None and found.exists():
        return Fact("libpython", "good", str(found))
    return Fact("libpython", "note", "none; only Python programs can load a delegate", advice())


def _litert() -> Fact:
    try:
        return Fact("LiteRT", "good", f"{PACKAGE} {version(PACKAGE)}")
    except PackageNotFoundError:
        return Fact("LiteRT", "note", "not installed; `classify` and `compare` need it", ADVICE)


def _compiler() -> Fact:
    found = shutil.which("gcc") or shutil.which("cc")
    if found:
        return Fact("C compiler", "good", found)
    return Fact("C compiler", "note", "none", "`rocketnpu emulate` and `build-delegate` need gcc")
