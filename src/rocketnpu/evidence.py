"""Every hardware rule that compiler or simulator relies on, and what speaks for it.

A rule is named where it is used (tasks carry the names of the unproven rules they need), described here once, and
pinned by a test. ``docs/hardware/evidence.md`` is printed from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Evidence(Enum):
    """What speaks for a rule, the strongest first."""

    SILICON = "recorded on silicon"
    DRIVER = "open driver known to run"
    VENDOR = "vendor stream"
    MANUAL = "manual"
    ASSUMED = "assumed"


PROVEN = frozenset({Evidence.SILICON, Evidence.DRIVER})
"""Evidence that lets a program run on a device without ``--allow-unproven``."""


@dataclass(frozen=True)
class HardwareRule:
    """One fact about the chip that code depends on."""

    name: str
    statement: str
    evidence: Evidence
    source: str
    test: str
    """Test that pins it, as ``file::name``."""


class Unproven:
    """Names of the rules that are not proven on this chip; tasks that need one carry its name."""

    CHANNEL_RECORDS_DEPTHWISE = "depthwise-channel-records"
    ELEMENTWISE_MAXIMUM = "elementwise-maximum"
    ELEMENTWISE_MULTIPLY = "elementwise-multiply"
    LOOKUP = "byte-lookup-table"
    OPERAND_PER_CHANNEL = "elementwise-operand-per-channel"
    PARAMETRIC_RELU = "parametric-relu"
    POOLING_UNIT = "byte-pooling-unit"
    CEILING = "integer-relux"
    DILATION = "dilation"
    ELEMENTWISE_RELU = "elementwise-relu"
    LIFT = "constant-summand-in-bn"
    LINE_GAP = "byte-output-line-gap"
    SOURCE_GAP = "feature-line-gap"
