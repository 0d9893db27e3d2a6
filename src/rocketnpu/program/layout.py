"""How a tensor of the host lies in the NPU's memory, and the copy in both directions.

The NPU keeps a feature map as surfaces of 16 channels: ``byte(c, y, x) = surface[c / 16][y][x][c % 16]``, signed bytes
(NC1HWC2; Mesa, vendor captures and every board report agree; spec 3.1). TFLite keeps NHWC. UINT8 tensors are stored as
``q - 128``, which is a flip of the top bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rocketnpu.rockchip.soc import ATOM

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FeatureLayout:
    """Place of a feature map of 8-bit elements inside one buffer. Offsets and pitches in bytes."""

    height: int
    width: int
    channels: int
    offset: int
    surface_pitch: int
    """From one surface to the next; at least ``height * width * 16``."""
    flip: bool
    """Whether the host's element is unsigned, so that its top bit changes on the way."""

    @property
    def surfaces(self) -> int:
        """Number of 16-channel surfaces that hold data."""
        return -(-self.channels // ATOM)

    @property
    def end(self) -> int:
        """Offset just behind the last byte of the last surface."""
        return self.offset + (self.surfaces - 1) * self.surface_pitch + self.height * self.width * ATOM

    def view(self, memory: memoryview | Bytes) -> Bytes:
        """Return the feature map inside ``memory`` as ``(surfaces, height * width, 16)``, without a copy."""
        flat = np.frombuffer(memory, np.uint8)
        if self.end > flat.size:
            raise ValueError(f"layout ends at byte {self.end}, the buffer has {flat.size}")
        return np.lib.stride_tricks.as_strided(
            flat[self.offset :],
            (self.surfaces, self.height * self.width, ATOM),
            (self.surface_pitch, ATOM, 1),
        )

    def pack(self, tensor: npt.NDArray[np.generic], memory: memoryview | Bytes) -> None:
        """Write a tensor of ``height * width * channels`` 8-bit elements. Padding channels keep their old bytes."""
        source = tensor.view(np.uint8).reshape(self.height * self.width, self.channels)
        slots = self.view(memory)
        change = np.uint8(0x80 if self.flip else 0)
        whole = self.channels // ATOM
        if whole:
            blocks = source[:, : whole * ATOM].reshape(-1, whole, ATOM).transpose(1, 0, 2)
            np.bitwise_xor(blocks, change, out=slots[:whole])
        for lane in range(self.channels - whole * ATOM):
            np.bitwise_xor(source[:, whole * ATOM + lane], change, out=slots[whole, :, lane])

    def unpack(self, memory: memoryview | Bytes, tensor: npt.NDArray[np.generic]) -> None:
        """Read the feature map into ``tensor``, which is C-contiguous."""
        target = tensor.view(np.uint8).reshape(self.height * self.width, self.channels)
        slots = self.view(memory)
        change = np.uint8(0x80 if self.flip else 0)
        for surface in range(self.surfaces):
            lanes = min(ATOM, self.channels - surface * ATOM)
            columns = target[:, surface * ATOM : surface * ATOM + lanes]
            np.bitwise_xor(slots[surface, :, :lanes], change, out=columns)
