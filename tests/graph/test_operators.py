"""Operators, tensors and quantisations by themselves: what holds unless it is said otherwise, and what is the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.graph import DType, Operator, Padding, Quantisation, Tensor
from rocketnpu.graph import operators as ops


def test_quantisations_of_channels_are_the_same_along_the_same_axis() -> None:
    def of(axis: int, *scales: float, zero: int = 0) -> Quantisation:
        return Quantisation(np.float32(scales), np.full(len(scales), zero), axis)

    assert of(0, 0.5).same_as(of(1, 0.5))
    assert of(0, 0.5, 0.25).same_as(of(0, 0.5, 0.25))
    assert not of(0, 0.5, 0.25).same_as(of(1, 0.5, 0.25))
    assert not of(0, 0.5, 0.25).same_as(of(0, 0.5))
    assert not of(0, 0.5).same_as(of(0, 0.5, zero=1))
    assert not of(0, 0.5).same_as(None)
    several = of(0, 0.5, 0.25, zero=7)
    assert (several.scale, several.zero_point, several.axis, several.is_per_channel) == (0.5, 7, 0, True)
    assert Quantisation.per_tensor(0.5, 3).axis == 0


def test_what_an_operator_does_unless_it_is_said_otherwise() -> None:
    conv = ops.Conv2D((1, 1), Padding.SAME)
    assert (conv.dilation, conv.activation, conv.pads) == ((1, 1), ops.Activation.NONE, None)
    depthwise = ops.DepthwiseConv2D((1, 1), Padding.SAME)
    assert (depthwise.dilation, depthwise.depth_multiplier, depthwise.pads) == ((1, 1), 1, None)
    pool = ops.Pool2D((1, 1), Padding.SAME, (2, 2))
    assert (pool.activation, pool.pads, pool.border) == (ops.Activation.NONE, None, None)
    connected = ops.FullyConnected()
    assert (connected.activation, connected.keep_dims, connected.shuffled_weights) == (
        ops.Activation.NONE,
        False,
        False,
    )
    assert (ops.Reduce().keep_dims, ops.Gelu().approximate, ops.MirrorPad().symmetric) == (False, False, False)
    assert (ops.LeakyRelu().alpha, ops.Softmax().beta, ops.Foreign("why").macs) == (0.0, 1.0, 0)
    assert ops.StridedSlice() == ops.StridedSlice(0, 0, 0, 0, 0, offset=False)
    assert (ops.Pack().axis, ops.Gather().axis, ops.Gather().batch_dims, ops.Block().size) == (0, 0, 0, 1)
    assert (ops.Squeeze().axes, Operator(0, "RELU", (0,), (1,)).custom_options) == ((), b"")
    tensor = Tensor(0, "t", (2,), DType.INT8)
    assert (tensor.is_dynamic, tensor.is_variable, tensor.placeholders, tensor.is_constant) == (False, False, (), False)
    assert replace(tensor, shape=(1, 2, 1), signature=(-1, 2, -1)).placeholders == (0, 2)
