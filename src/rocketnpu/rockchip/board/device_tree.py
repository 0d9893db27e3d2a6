"""The NPU's nodes in the board's device tree, as the kernel's bindings describe them.

Source: Documentation/devicetree/bindings/npu/rockchip,rk3588-rknn-core.yaml and iommu/rockchip,iommu.yaml of Linux 7.2.
Power domains and supplies are left out, which the drivers allow; the reset controller is one of the simplest that Linux
knows, and lies in the last page of the core's own window.
"""

from __future__ import annotations

from collections.abc import Sequence

from rocketnpu.board.machine import Slot
from rocketnpu.rockchip.board import npu_function as npu

_CLOCK_HZ = 200_000_000
"""What mainline leaves the NPU at (addendum 9.1)."""
_LEVEL_HIGH = 4
_BOARD = 'model = "Virtual board with an NPU"; compatible = "rocketnpu,virtual-board", "rockchip,rk3588";'
"""Programs tell by it which chip a board has."""


def fragment(slots: Sequence[Slot]) -> str:
    """Return the source of a device tree part with one core in each slot."""
    clock = (
        f'npu_clock: npu-clock {{ compatible = "fixed-clock"; #clock-cells = <0>; clock-frequency = <{_CLOCK_HZ}>; }};'
    )
    return f"/ {{\n{_BOARD}\n{clock}\n" + "".join(_core(number, slot) for number, slot in enumerate(slots)) + "};\n"


def _core(number: int, slot: Slot) -> str:
    def place(offset: int, size: int) -> str:
        return f"<0x0 0x{slot.address + offset:x} 0x0 0x{size:x}>"

    mmus = npu.mmu_blocks(number)
    interrupt = f"interrupts = <0 {slot.interrupt} {_LEVEL_HIGH}>;"
    return f"""
reset{number}: reset-controller@{slot.address + npu.RESET:x} {{
    compatible = "snps,dw-high-reset";
    reg = {place(npu.RESET, 4)};
    #reset-cells = <1>;
}};
mmu{number}: iommu@{slot.address + mmus[0]:x} {{
    compatible = "rockchip,rk3588-iommu", "rockchip,rk3568-iommu";
    reg = {", ".join(place(block, 0x100) for block in mmus)};
    {interrupt}
    clocks = <&npu_clock>, <&npu_clock>;
    clock-names = "aclk", "iface";
    #iommu-cells = <0>;
}};
npu@{slot.address:x} {{
    compatible = "rockchip,rk3588-rknn-core";
    reg = {place(0, npu.BLOCK)}, {place(npu.CNA, npu.BLOCK)}, {place(npu.CORE, npu.BLOCK)};
    reg-names = "pc", "cna", "core";
    {interrupt}
    clocks = <&npu_clock>, <&npu_clock>, <&npu_clock>, <&npu_clock>;
    clock-names = "aclk", "hclk", "npu", "pclk";
    resets = <&reset{number} {2 * number}>, <&reset{number} {2 * number + 1}>;
    reset-names = "srst_a", "srst_h";
    iommus = <&mmu{number}>;
}};
"""
