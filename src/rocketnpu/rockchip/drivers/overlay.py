"""A device-tree overlay that raises the NPU's clock: what matters most on a mainline kernel.

Mainline's device tree asks for 200 MHz, and no driver asks for more (timing 0, finding 1). The overlay changes the rate
that each core's node is assigned when its driver starts. Nodes are named by path, because many device trees are built
without symbols.
"""

from __future__ import annotations

CORES = (0xFDAB0000, 0xFDAC0000, 0xFDAD0000)
"""Addresses of the cores' nodes, ``/npu@fdab0000`` and so on (rk3588-base.dtsi of Linux 6.18; timing 0)."""
SAFE_MHZ = 800
"""The highest rate that anybody calls safe at the usual voltage: one project's statement (timing 6.3)."""
FULL_MHZ = 1000
"""The vendor kernel's rate, which it gives a higher voltage (timing 6.3)."""

_HEAD = """/dts-v1/;
/plugin/;

/*
 * The NPU of the RK3588 at {mhz} MHz instead of the 200 MHz that mainline's device tree asks for.
 *
 * {warning}
 *
 * Compile:  dtc -@ -I dts -O dtb -o npu-clock.dtbo npu-clock.dts
 * How to apply it and how to take it back: docs/devices.md, "The clock".
 * See whether it works: rocketnpu doctor, then rocketnpu selftest.
 */

/ {{
\tcompatible = "rockchip,rk3588";
"""
_FRAGMENT = """
\tfragment@{number} {{
\t\ttarget-path = "/npu@{address:x}";

\t\t__overlay__ {{
\t\t\tassigned-clock-rates = <{hz}>;
\t\t}};
\t}};
"""


def overlay(mhz: int = SAFE_MHZ) -> str:
    """Return the overlay's source for a rate in MHz.

    Raises:
        ValueError: the rate is outside what the chip is known to run at.
    """
    if not 200 <= mhz <= FULL_MHZ:
        raise ValueError(f"{mhz} MHz: the NPU is known to run at 200 to {FULL_MHZ} MHz")
    warning = (
        "One project calls this safe at the usual voltage; nobody has proven it for every board."
        if mhz <= SAFE_MHZ
        else "This needs a higher voltage of vdd_npu_s0, which mainline's driver never asks for: without it results\n"
        " * may be wrong, or the board may hang."
    )
    parts = [_FRAGMENT.format(number=n, address=address, hz=mhz * 1_000_000) for n, address in enumerate(CORES)]
    return _HEAD.format(mhz=mhz, warning=warning) + "".join(parts).removeprefix("\n") + "};\n"
