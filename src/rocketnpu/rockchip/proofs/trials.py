"""All trials of this family, from harmless to what may hang, and the rules that no program can ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rocketnpu.proofs.trial import Trial
from rocketnpu.rockchip.proofs import flying, operands, values
from rocketnpu.rockchip.soc import Soc

_MAKERS: tuple[Callable[[Soc], Iterator[Trial]], ...] = (
    values.padding,
    values.ties,
    values.two_roundings,
    values.saturation,
    values.channels_beyond,
    values.ceilings,
    values.lifted,
    values.slopes,
    values.depthwise_records,
    values.dilated,
    values.gaps,
    operands.rectified,
    operands.extremes,
    operands.products,
    operands.channel_factors,
    values.wide_output,
    values.pictures,
    operands.pooled,
    flying.starts,
    flying.flying_sums,
    flying.fused,
    flying.alone,
)
"""In the order in which they are to be run: by hazard, and what others rest on first."""
NOT_ASKED: Mapping[str, str] = {
    "pointer-bit": "a wrong guess would start whatever an earlier list left in the other registers",
    "written-outside": "a program would have to write outside of every buffer",
    "pooling-leftover": "its proof would be a hang",
    "spoiled-output": "nobody has said what a defect computes, so nothing can be expected",
}
"""Rules without proof that no trial asks, and why."""


def trials(soc: Soc) -> tuple[Trial, ...]:
    """Make all trials for a chip."""
    return tuple(trial for make in _MAKERS for trial in make(soc))
