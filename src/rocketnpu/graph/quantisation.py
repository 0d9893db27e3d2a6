"""How integers in a tensor stand for real numbers: ``real = scale * (q - zero_point)``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Quantisation:
    """Affine quantisation of a tensor, per tensor (one scale) or per channel (a scale for each index of ``axis``).

    ``scales`` is float32 of shape ``(n,)``, ``zero_points`` int64 of the same shape; ``n`` is 1 when per tensor.
    """

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int = 0

    @classmethod
    def per_tensor(cls, scale: float, zero_point: int) -> Quantisation:
        """Make a quantisation of one scale and one zero point."""
        return cls(np.array([scale], np.float32), np.array([zero_point], np.int64))

    @property
    def is_per_channel(self) -> bool:
        """Whether there is more than one scale."""
        return len(self.scales) > 1

    @property
    def scale(self) -> float:
        """The only scale, as the float32 value that the file holds."""
        return float(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The only zero point."""
        return int(self.zero_points[0])

    def same_as(self, other: Quantisation | None) -> bool:
        """Say whether both map the same integers to the same numbers."""
        return (
            other is not None
            and np.array_equal(self.scales, other.scales)
            and np.array_equal(self.zero_points, other.zero_points)
            and (self.axis == other.axis or not self.is_per_channel)
        )

    def __str__(self) -> str:
        if self.is_per_channel:
            low, high = float(self.scales.min()), float(self.scales.max())
            return f"{len(self.scales)} scales {low:.6g}..{high:.6g} on axis {self.axis}"
        return f"{self.scale:.9g} zero point {self.zero_point}"
