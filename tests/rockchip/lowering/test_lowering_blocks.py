"""Grouped and depthwise kernels as dense blocks: every kernel reads the channels of its group, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketnpu.rockchip.lowering.blocks import Groups, dense_blocks, grouped_blocks
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import Conversion

ZERO = -7
"""Stored zero point of the kernels: what counts for nothing."""


def layer(weights: np.ndarray, inputs: int, whole: int, first: int) -> ConvolutionLayer:
    """Kernels of a layer that makes ``whole`` channels, from ``first`` on."""
    kernels = weights.shape[-1] if weights.ndim == 3 else len(weights)
    target = FeatureMap.packed("y", 4, 4, whole, 16).channel_slice(first, kernels)
    return ConvolutionLayer(
        0,
        "grouped",
        FeatureMap.packed("x", 4, 4, inputs, 16),
        target,
        weights,
        ZERO,
        np.arange(kernels, dtype=np.int64),
        (1, 1),
        (1, 1),
        (1, 1),
        0,
        Requantise(Conversion(1 << 14, 14, 0), np.arange(kernels) + 1),
    )


def spread(blocks: list[ConvolutionLayer], inputs: int, whole: int) -> np.ndarray:
    """Return the kernels of dense layers over all input channels, by output channel."""
    found = np.full((whole, *blocks[0].weights.shape[1:3], inputs), ZERO, np.int64)
    for block in blocks:
        surface = block.target.at.offset // block.target.surface_pitch * 16
        low = block.source.at.offset // block.source.surface_pitch * 16
        assert block.source.channels == block.weights.shape[-1]
        assert low + block.source.channels <= inputs
        found[surface : surface + len(block.weights), :, :, low : low + block.source.channels] = block.weights
    return found


@given(
    groups=st.integers(1, 24),
    depth=st.integers(1, 9),
    per_group=st.integers(1, 9),
    first=st.integers(0, 5),
    block=st.sampled_from((16, 32, 128)),
    seed=st.integers(0, 99),
)
@settings(max_examples=150)
def test_every_kernel_reads_its_group(
    groups: int, depth: int, per_group: int, first: int, block: int, seed: int
) -> None:
    inputs, whole = groups * depth, groups * per_group
    start = min(16 * first, (whole - 1) // 16 * 16)
    kernels = np.random.default_rng(seed).integers(-128, 128, (whole - start, 2, 3, depth)).astype(np.int8)
    given_layer = layer(kernels, inputs, whole, start)
    seen = Groups.of(given_layer, FeatureMap.packed("y", 4, 4, whole, 16), inputs)
    assert seen == Groups(inputs, whole, start)
    blocks = list(grouped_blocks(given_layer, seen, block))
    wanted = np.full((whole, 2, 3, inputs), ZERO, np.int64)
    for number, kernel in enumerate(kernels, start):
        group = number // per_group
        wanted[number, :, :, group * depth : (group + 1) * depth] = kernel
    np.testing.assert_array_equal(spread(blocks, inputs, whole), wanted)
    assert [len(one.weights) for one in blocks[:-1]] == [block] * (len(blocks) - 1)
    assert np.concatenate([one.biases for one in blocks]).tolist() == list(range(whole - start))
    multipliers = [one.requantise.channel_multipliers for one in blocks]
    assert np.concatenate([each for each in multipliers if each is not None]).tolist() == list(
        range(1, whole - start + 1)
    )


@pytest.mark.parametrize("channels", [1, 16, 17, 32, 33, 70])
def test_a_depthwise_layer_is_one_of_single_channels(channels: int) -> None:
    kernels = np.random.default_rng(channels).integers(-128, 128, (3, 2, channels)).astype(np.int8)
    blocks = dense_blocks(layer(kernels, channels, channels, 0))
    wanted = np.full((channels, 3, 2, channels), ZERO, np.int64)
    for channel in range(channels):
        wanted[channel, :, :, channel] = kernels[..., channel]
    np.testing.assert_array_equal(spread(blocks, channels, channels), wanted)
    assert len(blocks) == -(-channels // 32)


def test_blocks_of_16_inputs_read_no_more_than_their_surfaces() -> None:
    """Of each block the input starts at the surface of its first group, and ends with its last."""
    kernels = np.zeros((64, 1, 1, 5), np.int8)
    blocks = list(grouped_blocks(layer(kernels, 80, 64, 0), Groups(80, 64)))
    assert [(one.source.at.offset // 256, one.source.channels) for one in blocks] == [(0, 40), (2, 48)]
    assert replace(blocks[0], label="").target.channels == 32
