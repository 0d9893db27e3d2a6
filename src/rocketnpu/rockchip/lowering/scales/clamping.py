"""The output's zero point and a fused activation around a common factor."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, Tensor
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.tasks.convolution import Requantise
from rocketnpu.rockchip.tasks.requantise import Scale, ceiling_for
from rocketnpu.rockchip.tasks.task import Conversion


def clamped(
    common: Scale, target: Tensor, activation: Activation, multipliers: npt.NDArray[np.int64] | None = None
) -> Requantise:
    """Put the output's zero point and a fused activation around a common factor.

    Raises:
        UnsupportedError: the clamp cannot be expressed.
    """
    zero = quantised.zero_point(target)
    low, high = quantised.activation_range(activation, target)
    relu = low > quantised.INT8_MIN or high < quantised.INT8_MAX
    floor, lift = zero, 0
    if relu and low != zero:
        # The ReLU clamps at 0, so what is to become the lowest output is lifted there.
        floor, lift = low, _converting_to(zero - low, common, activation)
    ceiling = _converting_to(high - floor, common, activation) if high < quantised.INT8_MAX else None
    return Requantise(Conversion(common.multiplier, common.shift, floor), multipliers, relu, ceiling, lift)


MAX_LIFT_ERROR = 0.05
"""Output steps by which a lifted ReLU may be off: half an accumulator unit."""


def _converting_to(steps: int, common: Scale, activation: Activation) -> int:
    found = ceiling_for(steps, common)
    if found is None or common.value > 2 * MAX_LIFT_ERROR:
        raise UnsupportedError(
            f"no accumulator value converts well to the clamp {steps} steps off of {activation.value}: "
            f"a unit is {common.value:.3g} steps"
        )
    return found
