"""Dense blocks: what the hardware does for all channels of a block at once, used for channels that stand alone.

A depthwise convolution is a dense one whose kernels are zero but for one channel. Cut into blocks of output channels,
each reading only the input channels that it needs, this is exact and uses nothing but proven convolutions. So do
grouped convolutions and depth multipliers, for which the chip has no mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer
from rocketnpu.rockchip.tasks.feature import FeatureMap

BLOCK = 32
"""Output channels of a block: one kernel group."""


@dataclass(frozen=True, slots=True)
class Groups:
    """How kernels of a layer share out its input: each reads the channels of its group, groups follow one another."""

    inputs: int
    """Input channels of the whole layer."""
    outputs: int
    """Kernels of the whole layer."""
    first: int = 0
    """The first kernel at hand, where the layer was cut."""

    @classmethod
    def of(cls, layer: ConvolutionLayer, whole: FeatureMap, inputs: int) -> Groups:
        """See a layer as the part of one that makes ``whole`` from ``inputs`` channels."""
        first = (layer.target.at.offset - whole.at.offset) // whole.surface_pitch * whole.slot
        return cls(inputs, whole.channels, first)


def grouped_blocks(layer: ConvolutionLayer, groups: Groups, block: int = BLOCK) -> Iterator[ConvolutionLayer]:
    """Cut a layer of grouped kernels into dense layers.

    Args:
        layer: its weights are ``(kernels, height, width, n)``: each kernel reads ``n`` input channels of its group.
        groups: which those are.
        block: output channels of each dense layer, a multiple of 16.
    """
    kernels, height, width, depth = layer.weights.shape
    slot = layer.source.slot
    per_group = groups.outputs * depth // groups.inputs
    for first in range(0, kernels, block):
        count = min(block, kernels - first)
        starts = (groups.first + np.arange(first, first + count)) // per_group * depth
        low = int(starts[0]) // slot * slot
        high = int(starts[-1]) + depth
        dense = np.full((count, height, width, high - low), layer.weight_zero_point, np.int8)
        for kernel, start in enumerate(starts - low):
            dense[kernel, :, :, start : start + depth] = layer.weights[first + kernel]
        part = layer.kernel_slice(first, count)
        yield replace(part, source=layer.source.channel_slice(low, high - low), weights=dense)


def as_grouped(layer: ConvolutionLayer) -> ConvolutionLayer:
    """See a depthwise layer as a grouped one of one channel a group."""
    return replace(layer, weights=np.ascontiguousarray(layer.weights.transpose(2, 0, 1))[..., None])


def dense_blocks(layer: ConvolutionLayer, block: int = BLOCK) -> list[ConvolutionLayer]:
    """Cut a depthwise layer into dense layers."""
    channels = layer.weights.shape[-1]
    return list(grouped_blocks(as_grouped(layer), Groups(channels, channels), block))
