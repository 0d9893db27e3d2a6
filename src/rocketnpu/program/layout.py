"""How a tensor of the host lies in the NPU's memory, and the copy in both directions.

A layout is a value: fields that the program's file keeps, and the copies. Each chip's memory has its own kinds of
layout; :data:`KINDS` names them for the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class FeatureLayout(Protocol):
    """Place of a tensor inside one buffer. A frozen dataclass of integers and truths."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    kind: ClassVar[str]
    """Its name in program files."""

    @property
    def offset(self) -> int:
        """Offset of its first byte."""

    @property
    def end(self) -> int:
        """Offset just behind its last byte."""

    def check(self, elements: int, size: int) -> None:
        """See that it holds a tensor of ``elements`` bytes and lies inside a buffer of ``size`` bytes.

        Raises:
            ValueError: it does not.
        """

    def pack(self, tensor: npt.NDArray[np.generic], memory: memoryview | Bytes) -> None:
        """Write a tensor of the host, C-contiguous, into the buffer. Bytes that hold no element keep their value."""

    def unpack(self, memory: memoryview | Bytes, tensor: npt.NDArray[np.generic]) -> None:
        """Read the tensor from the buffer into ``tensor``, which is C-contiguous."""


@dataclass(frozen=True, slots=True)
class SurfaceLayout:
    """A feature map of 8-bit elements in surfaces of ``slot`` channels. Offsets and pitches in bytes.

    ``byte(c, y, x) = surface[c / slot][y][x][c % slot]``, signed bytes (NC1HWC2; Mesa, vendor captures and every board
    report agree for slots of 16; spec 3.1). TFLite keeps NHWC. UINT8 tensors are stored as ``q - 128``, which is a flip
    of the top bit.
    """

    kind: ClassVar[str] = "surfaces"
    height: int
    width: int
    channels: int
    offset: int
    surface_pitch: int
    """From one surface to the next; at least ``height * width * slot``."""
    flip: bool
    """Whether the host's element is unsigned, so that its top bit changes on the way."""
    slot: int
    """Bytes of one pixel in a surface: so many channels it holds."""

    @property
    def surfaces(self) -> int:
        """Number of surfaces that hold data."""
        return -(-self.channels // self.slot)

    @property
    def end(self) -> int:
        """Offset just behind the last byte of the last surface."""
        return self.offset + (self.surfaces - 1) * self.surface_pitch + self.height * self.width * self.slot

    def check(self, elements: int, size: int) -> None:
        """See that it holds a tensor of ``elements`` bytes and lies inside a buffer of ``size`` bytes.

        Raises:
            ValueError: it does not.
        """
        _check_size((self.height, self.width, self.channels), elements)
        if self.slot < 1:
            raise ValueError(f"a layout with slots of {self.slot} bytes")
        if self.surfaces > 1 and self.surface_pitch < self.height * self.width * self.slot:
            raise ValueError(f"surfaces {self.surface_pitch} bytes apart overlap")
        if self.offset < 0 or self.surface_pitch < 0 or self.end > size:
            raise ValueError(f"layout from byte {self.offset} ends at byte {self.end}, the buffer has {size}")

    def view(self, memory: memoryview | Bytes) -> Bytes:
        """Return the feature map inside ``memory`` as ``(surfaces, height * width, slot)``, without a copy.

        Raises:
            ValueError: it does not lie inside.
        """
        flat = np.frombuffer(memory, np.uint8)
        self.check(self.height * self.width * self.channels, flat.size)
        return np.lib.stride_tricks.as_strided(
            flat[self.offset :],
            (self.surfaces, self.height * self.width, self.slot),
            (self.surface_pitch, self.slot, 1),
        )

    def pack(self, tensor: npt.NDArray[np.generic], memory: memoryview | Bytes) -> None:
        """Write a tensor of ``height * width * channels`` 8-bit elements. Padding channels keep their old bytes."""
        change = np.uint8(0x80 if self.flip else 0)
        if self._is_run:
            _copy(tensor.view(np.uint8).reshape(-1), change, self._run(memory))
            return
        source = tensor.view(np.uint8).reshape(self.height * self.width, self.channels)
        slots = self.view(memory)
        slot = self.slot
        whole = self.channels // slot
        if whole:
            blocks = source[:, : whole * slot].reshape(-1, whole, slot).transpose(1, 0, 2)
            np.bitwise_xor(blocks, change, out=slots[:whole])
        for lane in range(self.channels - whole * slot):
            np.bitwise_xor(source[:, whole * slot + lane], change, out=slots[whole, :, lane])

    def unpack(self, memory: memoryview | Bytes, tensor: npt.NDArray[np.generic]) -> None:
        """Read the feature map into ``tensor``, which is C-contiguous."""
        change = np.uint8(0x80 if self.flip else 0)
        if self._is_run:
            _copy(self._run(memory), change, tensor.view(np.uint8).reshape(-1))
            return
        target = tensor.view(np.uint8).reshape(self.height * self.width, self.channels)
        slots = self.view(memory)
        for surface in range(self.surfaces):
            lanes = min(self.slot, self.channels - surface * self.slot)
            columns = target[:, surface * self.slot : surface * self.slot + lanes]
            np.bitwise_xor(slots[surface, :, :lanes], change, out=columns)

    @property
    def _is_run(self) -> bool:
        """Whether elements lie in memory as they do at the host: packed pixels, or one pixel with its surfaces side by
        side.
        """
        single = self.height * self.width == 1 and self.surface_pitch == self.slot
        return self.channels == self.slot or single

    def _run(self, memory: memoryview | Bytes) -> Bytes:
        flat = np.frombuffer(memory, np.uint8)
        if self.end > flat.size:
            raise ValueError(f"layout ends at byte {self.end}, the buffer has {flat.size}")
        return flat[self.offset : self.offset + self.height * self.width * self.channels]


@dataclass(frozen=True, slots=True)
class CellLayout:
    """A picture in cells: each two by two pixels of the host are one pixel of a surface, one behind the other.

    ``byte(c, y, x) = memory[offset + ((y / 2 * width / 2 + x / 2) * slot) + (y % 2 * 2 + x % 2) * channels + c]``. A
    convolution of stride 2 reads cells at stride 1, with a smaller kernel and a quarter of the bytes.
    """

    kind: ClassVar[str] = "cells"
    height: int
    width: int
    channels: int
    """Of the host's picture; four pixels of it fit a slot. Height and width are even."""
    offset: int
    flip: bool
    """Whether the host's element is unsigned, so that its top bit changes on the way."""
    slot: int
    """Bytes of a cell in memory."""

    @property
    def end(self) -> int:
        """Offset just behind the last cell."""
        return self.offset + self.height * self.width // 4 * self.slot

    def check(self, elements: int, size: int) -> None:
        """See that it holds a tensor of ``elements`` bytes and lies inside a buffer of ``size`` bytes.

        Raises:
            ValueError: it does not.
        """
        _check_size((self.height, self.width, self.channels), elements)
        if self.height % 2 or self.width % 2 or 4 * self.channels > self.slot or self.slot % 2:
            raise ValueError(f"{self.height} x {self.width} x {self.channels} makes no cells of {self.slot} bytes")
        if self.offset < 0 or self.offset % 2 or self.end > size:
            raise ValueError(f"layout from byte {self.offset} ends at byte {self.end}, the buffer has {size}")

    def pack(self, tensor: npt.NDArray[np.generic], memory: memoryview | Bytes) -> None:
        """Write a tensor of 8-bit elements, two at a time. Bytes that hold no element keep their value."""
        change = np.uint16(0x8080 if self.flip else 0)
        for place, pairs in self._pairs(tensor, memory):
            np.bitwise_xor(pairs, change, out=place)

    def unpack(self, memory: memoryview | Bytes, tensor: npt.NDArray[np.generic]) -> None:
        """Read the picture into ``tensor``, which is C-contiguous."""
        change = np.uint16(0x8080 if self.flip else 0)
        for place, pairs in self._pairs(tensor, memory):
            np.bitwise_xor(place, change, out=pairs)

    def _pairs(
        self, tensor: npt.NDArray[np.generic], memory: memoryview | Bytes
    ) -> Iterator[tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]]:
        """Yield views of the same two bytes of all cells: in memory and in the tensor, each [rows, columns]."""
        flat = np.frombuffer(memory, np.uint8)
        self.check(tensor.size, flat.size)
        rows, columns = self.height // 2, self.width // 2
        cells = flat[self.offset : self.end].view(np.uint16).reshape(rows, columns, self.slot // 2)
        # A row of a cell is two pixels of the host, which lie one behind the other.
        lines = tensor.view(np.uint8).reshape(rows, 2, columns, 2 * self.channels).view(np.uint16)
        for row in range(2):
            for pair in range(self.channels):
                yield cells[..., row * self.channels + pair], lines[:, row, :, pair]


@dataclass(frozen=True, slots=True)
class PlaneLayout:
    """A feature map as planes: ``byte(c, y, x) = memory[offset + (c * height + y) * width + x]``, unsigned bytes.

    INT8 tensors are stored plus 128, which is a flip of the top bit (VeriSilicon's facts, section 4).
    """

    kind: ClassVar[str] = "planes"
    height: int
    width: int
    channels: int
    offset: int
    flip: bool
    """Whether the host's element is signed, so that its top bit changes on the way."""

    @property
    def end(self) -> int:
        """Offset just behind its last byte."""
        return self.offset + self.height * self.width * self.channels

    def check(self, elements: int, size: int) -> None:
        """See that it holds a tensor of ``elements`` bytes and lies inside a buffer of ``size`` bytes.

        Raises:
            ValueError: it does not.
        """
        _check_size((self.height, self.width, self.channels), elements)
        if self.offset < 0 or self.end > size:
            raise ValueError(f"layout from byte {self.offset} ends at byte {self.end}, the buffer has {size}")

    def pack(self, tensor: npt.NDArray[np.generic], memory: memoryview | Bytes) -> None:
        """Write a tensor of ``height * width * channels`` 8-bit elements."""
        pixels = tensor.view(np.uint8).reshape(-1, self.channels)
        _copy(pixels.T, np.uint8(0x80 if self.flip else 0), self._planes(memory))

    def unpack(self, memory: memoryview | Bytes, tensor: npt.NDArray[np.generic]) -> None:
        """Read the map into ``tensor``, which is C-contiguous."""
        pixels = tensor.view(np.uint8).reshape(-1, self.channels)
        # A kernel's memory may be uncached: it is read once, in a run, and turned where single bytes cost nothing.
        _copy(self._planes(memory).copy().T, np.uint8(0x80 if self.flip else 0), pixels)

    def _planes(self, memory: memoryview | Bytes) -> Bytes:
        flat = np.frombuffer(memory, np.uint8)
        if self.end > flat.size:
            raise ValueError(f"layout ends at byte {self.end}, the buffer has {flat.size}")
        return flat[self.offset : self.end].reshape(self.channels, self.height * self.width)


def _check_size(size: tuple[int, int, int], elements: int) -> None:
    if min(size) < 1 or prod(size) != elements:
        raise ValueError(f"a layout of {size[0]} x {size[1]} x {size[2]} for {elements} elements")


def _copy(source: Bytes, change: np.uint8, target: Bytes) -> None:
    if change:
        np.bitwise_xor(source, change, out=target)
    else:
        target[...] = source


KINDS: Mapping[str, type[SurfaceLayout] | type[CellLayout] | type[PlaneLayout]] = {
    SurfaceLayout.kind: SurfaceLayout,
    CellLayout.kind: CellLayout,
    PlaneLayout.kind: PlaneLayout,
}
"""Layouts by their name in program files."""
