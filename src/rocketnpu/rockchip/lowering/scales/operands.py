"""What the EW stage reads beside the accumulator."""

from __future__ import annotations

from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.requantise import encode_scale
from rocketnpu.rockchip.tasks.task import Combine, Elementwise, Rows


def operand(feature: FeatureMap, offset: int, factor: float, combine: Combine, soc: Soc) -> Elementwise:
    """Describe an EW operand: ``(stored + offset) * factor`` in accumulator units.

    Raises:
        UnsupportedError: the factor cannot be expressed.
    """
    rows = Rows(feature, 0, feature.height)
    if factor == 1.0:
        return Elementwise(combine, rows, offset, 1, 0)
    scale = encode_scale(abs(factor), soc)
    multiplier = scale.multiplier if factor > 0 else -scale.multiplier
    return Elementwise(combine, rows, offset, multiplier, scale.shift)
