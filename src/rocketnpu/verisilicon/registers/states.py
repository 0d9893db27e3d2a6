"""The front end's states that NPU streams write, by address.

Names follow the open driver's state maps (``state*.xml.h``); the values in recorded streams are in facts 3.
"""

from __future__ import annotations

from rocketnpu.fields import Register, block

STATES = block(
    "FE",
    base=0,
    target=None,
    enable_bit=None,
    table="""
    0x0a28 PA_SYSTEM_MODE    VALUE[31:0]
    0x10a0 PS_NN_INST_ADDR   INDEX[5:0] ADDRESS_64[31:6]
    0x10a4 PS_INST_INDEX     INDEX[31:0]
    0x10b8 PS_TP_INST_ADDR   INDEX[5:0] ADDRESS_64[31:6]
    0x380c GL_FLUSH_CACHE    VALUE[31:0]
    0x384c GL_API_MODE       MODE[31:0]
    0x3930 GL_NN_CONFIG      SMALL_BATCH[4] CORE_COUNT[11:8]
    0x393c GL_OCB_REMAP_START ADDRESS[31:0]
    0x3940 GL_OCB_REMAP_END  ADDRESS[31:0]
    0x394c GL_TP_CONFIG      VALUE[31:0]
    0x3950 GL_TP_SPLIT       VALUE[31:0]
""",
)

NN_START = STATES["PS_NN_INST_ADDR"].offset
TP_START = STATES["PS_TP_INST_ADDR"].offset
INSTRUCTION_ALIGNMENT = 64
"""Instructions lie at multiples of this; the low bits of the state carry a number (facts 3)."""


def state(offset: int) -> Register | None:
    """Return the state at an address, None if it is not known."""
    return STATES.by_offset.get(offset)
