"""What one run of the block pipeline is to do, in words of the hardware but without addresses or bits.

A worked example, the stem of MobileNetV1 (spec 9.1), its first of three tasks::

    ConvolutionTask(
        source=rows 0..76 of 224x224x3, kernel=KernelShape(3x3, stride 2x2, pads 0 top 0 left, value 0),
        weights=WeightBlock(constants+0x0, 32 kernels of 144 bytes), banks=Banks(data 10, weights 2, 56 entries a row),
        output=OutputStage(bs=add from memory, convert=30398 >> 22 - 128), target=rows 0..37 of 112x112x32)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rocketnpu.program.constants import Location
from rocketnpu.rockchip.tasks.feature import FeatureMap


class FromMemory(Enum):
    """Marks an operand that DPU_RDMA reads from memory."""

    MEMORY = "memory"


MEMORY = FromMemory.MEMORY


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a feature map."""

    feature: FeatureMap
    first: int
    count: int

    @property
    def at(self) -> Location:
        """Where the first row of the first surface starts."""
        return self.feature.row(self.first)

    def __str__(self) -> str:
        return f"rows {self.first}..{self.first + self.count - 1} of {self.feature}"


@dataclass(frozen=True, slots=True)
class KernelShape:
    """The window that slides over the input. Pairs are rows, columns."""

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad_top: int
    pad_left: int
    pad_value: int
    """Stored (int8) value of padded pixels: the input's zero point."""


@dataclass(frozen=True, slots=True)
class WeightBlock:
    """Packed kernels in memory."""

    at: Location
    kernels: int
    """Kernels as programmed: 1 for depthwise."""
    kernel_bytes: int
    depthwise: bool
    reuse: bool = False
    """Whether the previous task of the job left these very weights in the buffer."""

    @property
    def bytes(self) -> int:
        """Bytes of all kernels."""
        return self.kernels * self.kernel_bytes


@dataclass(frozen=True, slots=True)
class Banks:
    """How the convolution buffer is shared out."""

    data: int
    weights: int
    entries: int
    """64-byte units that one input row occupies."""


@dataclass(frozen=True, slots=True)
class Multiply:
    """Multiply by a 16-bit operand, then shift right with round-half-to-even."""

    operand: int | FromMemory
    shift: int


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the DPU's two per-channel stages, BS and BN: add, multiply, rectify, in this order."""

    add: int | FromMemory | None = None
    multiply: Multiply | None = None
    relu: bool = False
    ceiling: int | None = None
    """Upper bound behind the ReLU (RELUX), in the stage's units."""
    prelu: bool = False
    """Whether ``multiply`` applies to negative values only."""


BYPASS = Stage()


class Combine(Enum):
    """What the EW stage does with its operand."""

    ADD = "add"
    SUBTRACT = "subtract"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    MULTIPLY = "multiply"


@dataclass(frozen=True, slots=True)
class Elementwise:
    """The EW stage with an 8-bit operand feature map: ``operand = (b + offset) * scale >> shift``."""

    combine: Combine
    operand: Rows
    offset: int
    scale: int
    shift: int
    relu: bool = False
    ceiling: int | None = None
    per_channel: bool = False
    """Whether the operand is a 1x1 map whose values serve every pixel."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """The output converter: ``saturate(round(v * multiplier / 2**shift) + offset)``."""

    multiplier: int
    shift: int
    offset: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """The look-up table stage of EW: what the chip's two tables must hold, 513 signed 16-bit entries each.

    The argument is the value behind BN. Entries lie :data:`LOOKUP_STEP` apart; an earlier task of the same job loads
    them (:class:`FlyingTask`).
    """

    below: tuple[int, ...]
    """Table LE: arguments ``-16384, -16352 .. 0``."""
    above: tuple[int, ...]
    """Table LO: arguments ``0, 32 .. 16384``."""


LOOKUP_ENTRIES = 513
"""Entries of each table (TRM; addendum 5.1)."""
LOOKUP_STEP = 32
"""Distance of two entries: index shift 5, as in every programme that is known (addendum 5.1, 5.2)."""


@dataclass(frozen=True, slots=True)
class OutputStage:
    """Everything between the accumulator and memory."""

    bs: Stage
    bn: Stage
    elementwise: Elementwise | None
    conversion: Conversion
    operands: Location | None = None
    """Where BS finds its per-channel operands."""
    lookup: Lookup | None = None


@dataclass(frozen=True, slots=True)
class ConvolutionTask:
    """CNA, CORE, DPU and DPU_RDMA: convolution or depthwise convolution of some rows."""

    operator: int
    label: str
    source: Rows
    kernel: KernelShape
    weights: WeightBlock
    banks: Banks
    feature_offset: int
    """Multiplies the sum of the window's input values and is added to the accumulator: minus the weights' stored
    zero point (the OW operand, spec 5.2)."""
    output: OutputStage
    target: Rows
    rules: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer that the task computes, padding lanes left out."""
        per_output = self.kernel.size[0] * self.kernel.size[1]
        if not self.weights.depthwise:
            per_output *= self.source.feature.channels
        return per_output * self.target.count * self.target.feature.width * self.target.feature.channels


@dataclass(frozen=True, slots=True)
class FlyingTask:
    """DPU and DPU_RDMA alone: a feature map is read, passed through the output stage, and written.

    With ``tables`` it loads the look-up tables first, for the tasks behind it: what it reads and writes then does not
    matter, a task of some sort must carry the words (addendum 5.4; RV1106 and RK3576 load the same way).
    """

    operator: int
    label: str
    source: Rows
    output: OutputStage
    target: Rows
    rules: tuple[str, ...] = ()
    macs: int = 0
    tables: Lookup | None = None


@dataclass(frozen=True, slots=True)
class PoolingTask:
    """PPU and PPU_RDMA: the largest value of each window over some rows of a feature map. Pairs are rows, columns.

    Means are left to convolutions, which are proven and round once (addendum 4.4, 4.5).
    """

    operator: int
    label: str
    source: Rows
    columns: int
    """Columns that are read, from the left: those of a leftover that no window reaches are left out (addendum 4.2)."""
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad_before: tuple[int, int]
    pad_after: tuple[int, int]
    pad_value: int
    target: Rows
    rules: tuple[str, ...] = ()
    macs: int = 0


Task = ConvolutionTask | FlyingTask | PoolingTask
