"""The two kinds of task: a convolution by the NN cores, and a move of bytes by the tensor processors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from rocketnpu.program.constants import Location
from rocketnpu.verisilicon.tasks.scale import Scale

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Planes:
    """A map of unsigned bytes in memory, plane after plane (channel, row, column) without gaps."""

    at: Location
    channels: int
    height: int
    width: int

    @property
    def plane(self) -> int:
        """Bytes of a plane."""
        return self.height * self.width

    @property
    def size(self) -> int:
        """Bytes of the map."""
        return self.channels * self.plane

    @property
    def end(self) -> int:
        """Offset just behind its last byte, in its region."""
        return self.at.offset + self.size

    def reshaped(self, channels: int, height: int, width: int) -> Planes:
        """Return the same bytes as a map of another shape."""
        assert channels * height * width == self.size
        return Planes(self.at, channels, height, width)

    def channel_slice(self, first: int, count: int) -> Planes:
        """Return some of its planes."""
        return replace(self, at=self.at + first * self.plane, channels=count)

    def row_slice(self, first: int, count: int) -> Planes:
        """Return some rows of a map of a single plane."""
        assert self.channels == 1
        return replace(self, at=self.at + first * self.width, height=count)


@dataclass(frozen=True, eq=False)
class Convolution:
    """One NN job: ``out = clamp(round(sum((x - border) * (w - zero_point) + bias) * scale) + out_zero_point)``."""

    source: Planes
    target: Planes
    weights: Bytes
    """As stored, ``(kernels, channels, rows, columns)``; one channel where ``depthwise``."""
    zero_point: int
    """Of the weights."""
    biases: Int64
    """One a kernel, in units of the accumulator."""
    border: int
    """The input's zero point, and what is read outside the image."""
    scale: Scale
    out_zero_point: int
    label: str
    operator: int
    top: int = 0
    """Rows above the image at which the first window begins."""
    left: int = 0
    step: int = 1
    """2 where only the first of each 2x2 outputs is kept."""
    relu: bool = False
    """Whether results end at the output's zero point."""
    depthwise: bool = False
    stride: int = 1
    """Of the operator: 2 too where the image was cut into quarters before, of which tiles take account."""
    places: tuple[int, ...] = ()
    """Plane of each kernel's output, where that is not its number; generation 7 alone writes such."""
    rules: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates that count, those of dropped pixels apart."""
        return self.target.plane * int(np.prod(self.weights.shape))


class MoveKind(Enum):
    """What a tensor processor does with the bytes that it moves."""

    PAD = "pad"
    """Copy a map into a larger one."""
    TO_PIXELS = "to pixels"
    """From planes to pixels: channel, row, column becomes row, column, channel."""
    TO_PLANES = "to planes"
    """From pixels to planes."""
    QUARTER = "quarter"
    """Each plane becomes four, by the parity of rows and columns."""
    PLACE = "place"
    """Copy a map into a part of a larger one, and leave the rest of that as it is."""
    LOOKUP = "look-up"
    """Each byte becomes another."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A look-up: ``clamp(round(table(byte - in_zero_point) * (1 + multiplier / 2**15)) + out_zero_point)``."""

    table: Location
    in_zero_point: int
    out_zero_point: int


@dataclass(frozen=True, eq=False)
class Move:
    """One TP job."""

    kind: MoveKind
    source: Planes
    target: Planes
    label: str
    operator: int
    fill: int = 0
    """What is written where the source has nothing."""
    top: int = 0
    """Rows in front of the first of the source."""
    left: int = 0
    lookup: Lookup | None = None
    rules: tuple[str, ...] = field(default=())

    @property
    def macs(self) -> int:
        """None."""
        return 0


Task = Convolution | Move
