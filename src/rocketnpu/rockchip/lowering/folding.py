"""Depthwise layers of few channels, folded: what lies in one surface's rows is seen as several surfaces.

The chip convolves 64 channels in the time of 32 (timing 4.1). Surfaces lie one behind the other, so the upper and the
lower half of a map of 32 channels are four surfaces of half the height: a map of 64 channels, at no cost. Rows whose
windows reach over a fold, or over the border, are computed apart. A map of 16 channels is folded twice.

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
    """Yield the folded layer, and those of the rows that it leaves out."""
    axis, height = layer.axis, layer.target.height // parts
    first = -(-axis.pad_before // axis.stride)
    behind = (layer.source.height // parts - axis.reach + axis.pad_before) // axis.stride + 1
    if behind <= first:
        return
    main = _unfolded(layer, parts)
    main = replace(main, padding=(0, main.padding[1]), label=f"{layer.label} folded")
    low = first * axis.stride - axis.pad_before
    source = main.source.row_slice(low, (behind - first - 1) * axis.stride + axis.reach)
    yield replace(main, source=source, target=main.target.row_slice(first, behind - first))
    for part in range(parts + 1):
        start, end = (part - 1) * height + behind if part else 0, part * height + first if part < parts else None
        yield from _rest(layer, start, layer.target.height if end is None else end)


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
