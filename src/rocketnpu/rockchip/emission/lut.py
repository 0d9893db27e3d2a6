"""Look-up tables of the DPU: loading them, and the registers of a task that uses them (addendum 5)."""

from __future__ import annotations

from rocketnpu.rockchip.emission.writer import Writer
from rocketnpu.rockchip.tasks.task import Lookup

LE, LO = 0, 1
"""Numbers of the two tables (spec 6.5)."""
REACH = 16384
"""Arguments that a table covers, from 0 on either side: 512 steps of 32 (addendum 5.2)."""
INDEX_SHIFT = 5
"""Binary logarithm of the distance of two entries."""


def write_tables(writer: Writer, tables: Lookup) -> None:
    """Write both tables' entries; the address moves on by itself (addendum 5.1: ramps read back on two relatives)."""
    for table, entries in ((LE, tables.below), (LO, tables.above)):
        writer.put("DPU.LUT_ACCESS_CFG", LUT_ACCESS_TYPE=1, LUT_TABLE_ID=table)
        for entry in entries:
            writer.put("DPU.LUT_ACCESS_DATA", LUT_ACCESS_DATA=entry)


def write_lookup(writer: Writer, lookup: Lookup | None) -> None:
    """Write every register of the look-up tables, all zero where they are not used.

    The access port is set to reading and gets one word, as in each of Mesa's tasks: the word is lost (NVDLA). A task
    that uses the tables leaves the port alone. LUT_CFG 0x68 and the ranges are those of all programmes known.
    """
    if lookup is None:
        writer.zero("DPU.LUT_ACCESS_CFG", "DPU.LUT_ACCESS_DATA", "DPU.LUT_CFG", "DPU.LUT_INFO")
    else:
        writer.put("DPU.LUT_CFG", LUT_HYBRID_PRIORITY=1, LUT_OFLOW_PRIORITY=1, LUT_LO_LE_MUX=2)
        writer.put("DPU.LUT_INFO", LUT_LO_INDEX_SELECT=INDEX_SHIFT, LUT_LE_INDEX_SELECT=INDEX_SHIFT)
    reach = REACH if lookup is not None else 0
    writer.put("DPU.LUT_LE_START", LUT_LE_START=-reach)
    writer.zero("DPU.LUT_LE_END", "DPU.LUT_LO_START")
    writer.put("DPU.LUT_LO_END", LUT_LO_END=reach)
    for table in ("LE", "LO"):
        writer.zero(f"DPU.LUT_{table}_SLOPE_SCALE", f"DPU.LUT_{table}_SLOPE_SHIFT")
