"""Facts of one system on chip, in one place: another chip is another value of :class:`Soc`, not another compiler.

Evidence for each number stands beside it; "spec" and "addendum" are the project's hardware documents.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Soc:
    """Limits and sizes of one NPU. Bytes and counts unless a name says otherwise."""

    name: str
    cores: int
    """Independent NPU cores (TRM 36.1)."""
    slot: int
    """Bytes of one pixel slot, which hold as many int8 channels (spec 3.1: 16; 8 on the RK3568, family 1)."""
    kernel_group: int
    """Output channels that the MAC array computes at once, int8 (TRM; spec 3.5)."""
    depthwise_group: int
    """Channels of one depthwise group, int8 (Mesa and recordings; spec 3.5)."""
    weight_lanes: int
    """Input channels of one weight block, int8 (Mesa and recordings; spec 3.5)."""
    record_channels: int
    """Channels of one record of per-channel operands (addendum 1.2: 8; 4 on the RK3568, family 1)."""
    cbuf_banks: int
    """Banks of the convolution buffer, shared by features and weights (683 of 683 vendor tasks; spec 4.1)."""
    cbuf_bank_bytes: int
    """Bytes of one bank (TRM: 384 KiB in all)."""
    cbuf_entry_bytes: int
    """Granularity in which one feature row occupies the buffer (CI lists and silicon sweeps; addendum 7.1)."""
    max_size: int
    """Largest input or output width and height of a convolution task: 11-bit fields (TRM)."""
    max_cube: int
    """Largest width, height and channel count of a DPU cube: 13-bit fields, minus one (TRM)."""
    max_row: int
    """Largest (entries of a pixel - 1) * width of a convolution's input: beyond it the last channels of a row are read
    from the wrong place (mainline RK3588, for every precision; outside 2.6b)."""
    max_kernel: int
    """Largest kernel width and height: 5-bit fields (TRM; 31 works on RV1106, 33 does not)."""
    max_stride: int
    """Largest convolution stride: 3-bit fields (TRM)."""
    max_padding: int
    """Largest left and top padding: 4-bit fields (TRM)."""
    max_dilation: int
    """Largest dilation: 5-bit fields hold dilation - 1 (TRM)."""
    max_kernel_bytes: int
    """Bytes of one kernel: a 19-bit field (TRM)."""
    multiplier_bits: int
    """Significant bits of the output multiplier, kept below the sign bit (spec 5.7, addendum 2.3)."""
    packed_channels: int
    """Most channels of a picture that is read packed, as the host has it (TRM; spec 3.4)."""
    packed_pixels: int
    """Most pixels of a packed picture in one task: vendor streams have so many (addendum 6.9)."""
    packed_lanes: int
    """Bytes of the convolution buffer that a packed pixel occupies (one recorded stream; addendum 7.1)."""
    alignment: int
    """Bytes; addresses of lists and tensors are multiples of this (TRM; addendum 9.2)."""
    address_bits: int
    """Bits of an address in a command word (TRM)."""
    fetch_words: int
    """Command words in one unit of a link's amount, which counts units less one (spec 1.5: 2; 1 on the RK3568)."""
    max_list_words: int
    """Longest command list: what the amount's 16-bit field expresses (TRM). Beyond 1,024 words a RK3568 hangs."""
    max_tasks: int
    """Most tasks of one job: the task number's 12 bits (TRM; other chips have 16, family 1)."""
    clock_hz: int
    """Lowest clock of a kernel in use: mainline's device tree asks for 200 MHz (timing 0, finding 1)."""
    job_cycles: int
    """Estimated cycles (:mod:`rocketnpu.rockchip.tasks.cycles`) that a job of several tasks may hold: 100 ms at
    :attr:`clock_hz`, a fifth of what the kernel grants a job before it resets the core (500 ms; addendum 9.1)."""

    @property
    def cbuf_bank_entries(self) -> int:
        """Entries of one bank."""
        return self.cbuf_bank_bytes // self.cbuf_entry_bytes


RK3588 = Soc(
    name="rk3588",
    cores=3,
    slot=16,
    kernel_group=32,
    depthwise_group=64,
    weight_lanes=32,
    record_channels=8,
    cbuf_banks=12,
    cbuf_bank_bytes=32 * 1024,
    cbuf_entry_bytes=64,
    max_size=2047,
    max_cube=8192,
    max_row=2047,
    max_kernel=31,
    max_stride=7,
    max_padding=15,
    max_dilation=32,
    max_kernel_bytes=524287,
    multiplier_bits=15,
    packed_channels=4,
    packed_pixels=22_464,
    packed_lanes=4,
    alignment=16,
    address_bits=32,
    fetch_words=2,
    max_list_words=131072,
    max_tasks=4095,
    clock_hz=200_000_000,
    job_cycles=20_000_000,
)
"""The Rockchip RK3588 (and RK3588S; RK3583 has two cores)."""
