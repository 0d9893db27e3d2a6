"""CBUF, the convolution buffer: 12 banks of 32 KiB, shared by the features and the weights of a task.

A row of features occupies whole 64-byte entries; where three 16-byte slots are left over at the end of a pixel's
channels they take an entry of their own (NVDLA's rule; the published test lists of a real RK3588 fail exactly the
layers that program another number; spec 3.3). Features of a task must fit their banks completely (addendum 7.1: a
sweep on RK3588 that looked like a resonance follows this inequality exactly); weights may stream through theirs,
kernel by kernel (spec 4.1).
"""

from __future__ import annotations

from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.units.cna_config import CnaConfig
from rocketnpu.rockchip.soc import Soc

SLOTS_PER_ENTRY = 4
MAX_ROW = 2047
"""Largest (entries of a pixel - 1) * width: beyond it the last channels come from the wrong place (mainline RK3588,
for every precision; outside 2.6b)."""


def row_entries(width: int, channels: int) -> int:
    """Return the entries that one row of an unpacked int8 tensor occupies."""
    whole, left = divmod(-(-channels // 16), SLOTS_PER_ENTRY)
    return whole * width + (width if left == 3 else -(-left * width // SLOTS_PER_ENTRY))


def check_banks(config: CnaConfig, soc: Soc, checks: Checks) -> None:
    """Check that features and weights fit the banks they were given.

    Raises:
        SimulationError: they do not, or the banks are not there.
    """
    data, weight = config.banks.data, config.banks.weight
    if not data or not weight or data + weight > soc.cbuf_banks:
        checks.refuse("CNA", "CBUF_CON0", f"{data} data and {weight} weight banks; there are {soc.cbuf_banks} in all")
    if config.banks.fc:
        checks.distrust("CNA", "CBUF_CON0", f"FC_DATA_BANK is {config.banks.fc}; only 0 leaves convolutions intact")
    if config.kernel.kernel_bytes > weight * soc.cbuf_bank_bytes:
        checks.refuse(
            "CNA",
            "WEIGHT_SIZE1",
            f"a kernel of {config.kernel.kernel_bytes} bytes does not fit {weight} weight banks "
            f"of {soc.cbuf_bank_bytes} bytes",
        )
    if config.packed:
        _check_packed(config, soc, checks)
    else:
        _check_rows(config, soc, checks)


def _check_rows(config: CnaConfig, soc: Soc, checks: Checks) -> None:
    row = (-(-config.kernel.channels // (16 * SLOTS_PER_ENTRY)) - 1) * config.width
    if row > MAX_ROW:
        checks.distrust(
            "CNA",
            "DATA_SIZE0",
            f"{config.width} pixels of {config.kernel.channels} channels make a row of {row}, the last channels are "
            f"read wrongly beyond {MAX_ROW}",
        )
    expected = row_entries(config.width, config.kernel.channels)
    if config.banks.entries != expected:
        checks.distrust(
            "CNA",
            "CBUF_CON1",
            f"DATA_ENTRIES is {config.banks.entries}, but a row of {config.width} pixels with {config.kernel.channels} "
            f"channels occupies {expected} entries",
        )
    needed = -(-config.height * max(expected, config.banks.entries) // soc.cbuf_bank_entries)
    if needed > config.banks.data:
        checks.refuse(
            "CNA",
            "CBUF_CON0",
            f"{config.height} rows of {max(expected, config.banks.entries)} entries need {needed} data banks, "
            f"{config.banks.data} are given",
        )


def _check_packed(config: CnaConfig, soc: Soc, checks: Checks) -> None:
    """Packed input counts pixels instead of entries (Mesa, captures; spec 3.3), and how it lies in the banks is not
    known.

    Only what exceeds the whole buffer at one byte a channel is certain not to fit.
    """
    pixels = config.width * config.height
    if config.banks.entries != pixels:
        checks.distrust(
            "CNA", "CBUF_CON1", f"DATA_ENTRIES is {config.banks.entries}; packed input of {pixels} pixels needs that"
        )
    if pixels * config.packed > soc.cbuf_banks * soc.cbuf_bank_bytes:
        checks.refuse("CNA", "DATA_SIZE0", f"{pixels} pixels of {config.packed} channels exceed the buffer")
