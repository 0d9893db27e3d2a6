"""Depthwise layers of few channels, folded: what lies in one surface's rows is seen as several surfaces.

The chip convolves 64 channels in the time of 32 (timing 4.1). Surfaces lie one behind the other, so the upper and the
lower half of a map of 32 channels are four surfaces of half the height: a map of 64 channels, at no cost. Padding above
and below is then right at the map's borders and wrong at the folds: rows whose windows reach over a fold are computed
once more, behind. A map of 16 channels is folded twice.

The mean of a whole map has the opposite trouble: one output pixel a channel, where 16 are computed at a time. Surfaces
lie one behind the other there too, so those of 1024 channels are seen as the rows of a map of 64, see :func:`stacked`.

It is done where the estimate says that it takes less time, all tasks included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, outlined_tasks
from rocketnpu.rockchip.tasks.cycles import task_work
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.timing.rates import NETWORK_FIT
from rocketnpu.rockchip.timing.work import cycles


def folded(layer: ConvolutionLayer, soc: Soc, start: int) -> list[ConvolutionLayer]:
    """Return the layer folded where that takes less time, else the layer itself.

    Args:
        layer: any layer; only depthwise ones of few channels can be folded.
        soc: the chip.
        start: cycles that the start of a task costs.
    """
    parts = _parts(layer, soc)
    if parts < 2:
        return [layer]
    folds = list(_folds(layer, parts))
    try:
        if folds and _cycles(folds, soc, start) < _cycles([layer], soc, start):
            return folds
    except UnsupportedError:  # no cut of a part fits the buffer
        pass
    return [layer]


def stacked(layer: ConvolutionLayer, soc: Soc, start: int) -> list[ConvolutionLayer]:
    """Return a mean over a whole map with its surfaces as rows where that takes less time, else the layer itself.

    Args:
        layer: depthwise, with kernels that are all alike and reach over the whole map.
        soc: the chip.
        start: cycles that the start of a task costs.
    """
    source, target, group = layer.source, layer.target, soc.depthwise_group
    whole = source.line_gap == 0 and source.surface_slots == source.height * source.width
    single = (target.height, target.width, target.surface_slots) == (1, 1, 1) and layer.padding == (0, 0)
    alike = layer.requantise.channel_multipliers is None and layer.addend is None
    parts = target.channels // group
    if not (whole and single and alike) or target.channels % group or parts < 2 or source.height > soc.max_stride:
        return [layer]
    stack = replace(
        layer,
        label=f"{layer.label} stacked",
        source=_stack(source, parts, group),
        target=_stack(target, parts, group),
        weights=np.ascontiguousarray(layer.weights[..., :group]),
        biases=layer.biases[:group],
        stride=(source.height, 1),
    )
    return [stack] if _cycles([stack], soc, start) < _cycles([layer], soc, start) else [layer]


def _stack(feature: FeatureMap, parts: int, channels: int) -> FeatureMap:
    """See a map's surfaces, those of ``parts`` groups of channels, as the rows of one group."""
    return replace(
        feature, height=feature.height * parts, channels=channels, surface_pitch=feature.surface_pitch * parts
    )


def _cycles(layers: Sequence[ConvolutionLayer], soc: Soc, start: int) -> int:
    tasks = [task for layer in layers for task in outlined_tasks(layer, soc, start)]
    return sum(start + cycles(task_work(task, soc), NETWORK_FIT).total for task in tasks)


def _parts(layer: ConvolutionLayer, soc: Soc) -> int:
    """Return into how many parts the rows can be folded: 1 where they cannot."""
    source, target, channels = layer.source, layer.target, layer.target.channels
    if not layer.depthwise or layer.addend is not None or channels % source.slot:
        return 1
    parts = soc.depthwise_group // channels
    whole = all(m.line_gap == 0 and m.surface_slots == m.height * m.width for m in (source, target))
    if parts < 2 or not whole or source.height % parts or target.height % parts:
        return 1
    return parts if target.height * layer.stride[0] == source.height else 1


def _folds(layer: ConvolutionLayer, parts: int) -> Iterator[ConvolutionLayer]:
    """Yield the folded layer, and those of the rows at its folds, which it computes wrongly: they are made again."""
    axis, height = layer.axis, layer.target.height // parts
    first = -(-axis.pad_before // axis.stride)
    behind = (layer.source.height // parts - axis.reach + axis.pad_before) // axis.stride + 1
    if behind <= first:
        return
    yield replace(_unfolded(layer, parts), label=f"{layer.label} folded")
    for part in range(1, parts):
        yield from _rest(layer, (part - 1) * height + behind, part * height + first)


def _rest(layer: ConvolutionLayer, start: int, end: int) -> Iterator[ConvolutionLayer]:
    """Yield rows ``start .. end - 1``, and as many more that no task reads fewer rows than its kernel (spec 4.3)."""
    if end <= start:
        return
    axis = layer.axis
    needed = min(axis.reach, axis.size)
    while True:
        low, high = axis.span(start, end - start)
        if high - low + 1 >= needed:
            break
        if end < axis.outputs:
            end += 1
        else:
            start -= 1
    yield layer.row_slice(start, end - start)


def _unfolded(layer: ConvolutionLayer, parts: int) -> ConvolutionLayer:
    """See a layer's rows as so many parts of channels, without a look at the borders between them."""
    slot = layer.source.slot
    surfaces = np.arange(layer.target.channels).reshape(-1, 1, slot)
    order = np.broadcast_to(surfaces, (surfaces.shape[0], parts, slot)).reshape(-1)
    requantise = layer.requantise
    if requantise.channel_multipliers is not None:
        requantise = replace(requantise, channel_multipliers=requantise.channel_multipliers[order])
    return replace(
        layer,
        source=_seen(layer.source, parts),
        target=_seen(layer.target, parts),
        weights=np.ascontiguousarray(layer.weights[..., order]),
        biases=layer.biases[order],
        requantise=requantise,
    )


def _seen(feature: FeatureMap, parts: int) -> FeatureMap:
    height = feature.height // parts
    pitch = height * feature.line_bytes
    return replace(feature, height=height, channels=feature.channels * parts, surface_pitch=pitch)
