"""Dense blocks: what the hardware does for all channels of a block at once, used for channels that stand alone.

A depthwise convolution is a dense one whose kernels are zero but for one channel. Cut into blocks of output channels,
each reading only the input channels that it needs, this is exact and uses nothing but proven convolutions. So do
grouped convolutions and depth multipliers, for which the chip has no mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rocketnpu.soc import ATOM
from rocketnpu.tasks.convolution import ConvolutionLayer

BLOCK = 32
"""Output channels of a block: one kernel group."""


def grouped_blocks(layer: ConvolutionLayer, inputs: int, block: int = BLOCK) -> Iterator[ConvolutionLayer]:
    """Cut a layer of grouped kernels into dense layers.

    Args:
        layer: its weights are ``(kernels, height, width, n)``: each kernel reads ``n`` input channels of its group, and
            groups follow one another evenly.
        inputs: input channels of the whole layer.
        block: output channels of each dense layer, a multiple of 16.
    """
    kernels, height, width, depth = layer.weights.shape
    per_group = kernels * depth // inputs
    for first in range(0, kernels, block):
        count = min(block, kernels - first)
        starts = np.arange(first, first + count) // per_group * depth
        low = int(starts[0]) // ATOM * ATOM
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
    return list(grouped_blocks(as_grouped(layer), layer.weights.shape[-1], block))
