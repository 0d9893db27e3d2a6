"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED as convolution layers in stored values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, Operator, Padding, Tensor
from rocketnpu.graph.maps import window_padding
from rocketnpu.graph.operators import Conv2D, DepthwiseConv2D, FullyConnected
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.lowering import quantised
from rocketnpu.rockchip.lowering.blocks import Groups, dense_blocks, grouped_blocks
from rocketnpu.rockchip.lowering.classes import Class, class_layers
from rocketnpu.rockchip.lowering.context import Context
from rocketnpu.rockchip.lowering.folding import folded
from rocketnpu.rockchip.lowering.identity import clamp_layer, separate_clamp
from rocketnpu.rockchip.lowering.placement import cell_window
from rocketnpu.rockchip.lowering.scales.channel_scales import accumulator_range, cut_channels
from rocketnpu.rockchip.lowering.scales.clamping import clamped
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.choice import start_cycles
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.requantise import Scale, encode_scale
from rocketnpu.rockchip.tasks.task import Conversion


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights and bias of an operator, as stored."""

    weights: npt.NDArray[np.int8]
    zero_point: int
    scales: npt.NDArray[np.float64]
    """One, or one for each output channel."""
    bias: npt.NDArray[np.int64]


def kernel_of(context: Context, operator: Operator, outputs: int, bias_position: int = 2) -> Kernel:
    """Read the constant weights (input 1) and bias of an operator."""
    weights = context.tensor(operator, 1)
    assert weights.quantisation is not None
    number = operator.input(bias_position)
    bias = np.zeros(outputs, np.int64)
    if number is not None:
        data = context.graph.tensors[number].data
        assert data is not None
        bias = data.astype(np.int64).reshape(-1)
    return Kernel(
        quantised.stored(weights),
        quantised.zero_point(weights) if not weights.quantisation.is_per_channel else 0,
        weights.quantisation.scales.astype(np.float64),
        bias,
    )


def output_factors(source: Tensor, kernel: Kernel, target: Tensor) -> npt.NDArray[np.float64]:
    """Return accumulator to output steps, for each weight scale, in double precision as TFLite computes it."""
    return quantised.scale(source) * kernel.scales / quantised.scale(target)


def corrected_bias(kernel: Kernel, source_zero: int) -> npt.NDArray[np.int64]:
    """Fold the input's zero point into the bias: ``bias - zero * sum(w - w_zero)`` (spec 5.2).

    Raises:
        UnsupportedError: a bias leaves 32 bits.
    """
    weights = kernel.weights
    depthwise = weights.ndim == 3
    axes = (0, 1) if depthwise else (1, 2, 3)
    taps = weights[..., 0].size if depthwise else weights[0].size
    sums = weights.sum(axes, dtype=np.int64) - taps * kernel.zero_point
    biases: npt.NDArray[np.int64] = kernel.bias - source_zero * sums
    if np.any(np.abs(biases) >= 1 << 31):
        raise UnsupportedError(f"a bias of {int(np.abs(biases).max())} does not fit 32 bits")
    return biases


def conv_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe CONV_2D as layers. Kernels that read fewer channels than there are make a grouped convolution."""
    attributes = operator.attributes
    assert isinstance(attributes, Conv2D)
    channels = context.tensor(operator, 0).shape[-1]
    kernel = kernel_of(context, operator, context.feature(context.output(operator)).channels)
    layers = window_layers(context, operator, kernel, attributes)
    if kernel.weights.shape[-1] == channels:
        return layers
    return _grouped(layers, context.feature(context.output(operator)), channels)


def _grouped(layers: list[ConvolutionLayer], whole: FeatureMap, channels: int) -> list[ConvolutionLayer]:
    """Cut layers of grouped kernels, each of which makes some channels of ``whole``, into dense blocks.

    Raises:
        UnsupportedError: their scales are so uneven that more than one layer is needed for the same channels.
    """
    if any(layer.target.at.region != whole.at.region or layer.addend is not None for layer in layers):
        raise UnsupportedError("per-channel scales of 16 neighbours in a grouped convolution spread too far")
    return [block for layer in layers for block in grouped_blocks(layer, Groups.of(layer, whole, channels))]


def depthwise_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe DEPTHWISE_CONV_2D as layers.

    A depth multiplier has no mode of the chip, and per-channel scales of depthwise kernels no proof on it: the first
    always, the second where only proven rules are allowed, become dense blocks.
    """
    attributes = operator.attributes
    assert isinstance(attributes, DepthwiseConv2D)
    channels = context.feature(context.tensor(operator, 0)).channels
    kernel = kernel_of(context, operator, context.feature(context.output(operator)).channels)
    plain = replace(kernel, weights=kernel.weights[0])
    if plain.weights.shape[-1] != channels:
        grouped = np.ascontiguousarray(plain.weights.transpose(2, 0, 1))[..., None]
        layers = window_layers(context, operator, replace(kernel, weights=grouped), attributes)
        return _grouped(layers, context.feature(context.output(operator)), channels)
    layers = window_layers(context, operator, plain, attributes)
    if len(kernel.scales) == 1:
        return _folded(context, layers)
    if context.allows(Unproven.CHANNEL_RECORDS_DEPTHWISE):
        return _folded(context, [replace(layer, rules=(Unproven.CHANNEL_RECORDS_DEPTHWISE,)) for layer in layers])
    return [block for layer in layers for block in (dense_blocks(layer) if layer.depthwise else [layer])]


def _folded(context: Context, layers: Sequence[ConvolutionLayer]) -> list[ConvolutionLayer]:
    if not context.folds:
        return list(layers)
    start = start_cycles(context.policy.target)
    return [part for layer in layers for part in folded(layer, context.soc, start)]


def fully_connected_layers(context: Context, operator: Operator) -> list[ConvolutionLayer]:
    """Describe FULLY_CONNECTED: a 1x1 convolution of the map whose pixels are the rows (spec 6.2, exact on silicon).

    Without ``keep_dims`` the output is a matrix; a surface is one run of pixels, so it is seen as the input's map.
    """
    attributes = operator.attributes
    assert isinstance(attributes, FullyConnected)
    source = context.feature(context.tensor(operator, 0))
    kernel = kernel_of(context, operator, context.feature(context.output(operator)).channels)
    kernel = replace(kernel, weights=kernel.weights[:, None, None, :])
    layers = window_layers(context, operator, kernel, Conv2D((1, 1), Padding.VALID, activation=attributes.activation))
    return [replace(layer, target=layer.target.reshaped(source.height, source.width)) for layer in layers]


@dataclass(frozen=True)
class Outcome:
    """What is made of accumulators."""

    visible: tuple[float, float]
    """Smallest and largest result that is not clamped, in output steps relative to the zero point."""
    finish: Callable[[ConvolutionLayer, Scale, npt.NDArray[np.int64] | None], ConvolutionLayer]
    """Completes a layer, given the common factor and multipliers of its channels."""
    zero: int
    """The output's stored zero point."""


def clamping(target: Tensor, activation: Activation) -> Outcome:
    """Convert to the output tensor, with a fused activation."""
    zero = quantised.zero_point(target)
    low, high = quantised.activation_range(activation, target)

    def finish(layer: ConvolutionLayer, common: Scale, multipliers: npt.NDArray[np.int64] | None) -> ConvolutionLayer:
        return replace(layer, requantise=clamped(common, target, activation, multipliers))

    return Outcome((low - zero, high - zero), finish, zero)


def window_layers(
    context: Context, operator: Operator, kernel: Kernel, attributes: Conv2D | DepthwiseConv2D
) -> list[ConvolutionLayer]:
    """Describe a convolution with its scales: one layer, or several where per-channel scales spread too far.

    A clamp that no accumulator value stands for becomes a layer of its own, where the policy allows it.
    """
    layer, kernel = window_layer(context, operator, kernel, attributes)
    source, target = context.tensor(operator, 0), context.output(operator)
    factors = output_factors(source, kernel, target)
    try:
        return scaled_layers(context, layer, kernel, factors, clamping(target, attributes.activation))
    except UnsupportedError:
        bounds = separate_clamp(attributes.activation, target)
        if bounds is None or not context.policy.allow_unproven:
            raise
    result = layer.target
    middle = context.fresh(result.height, result.width, result.channels)
    layers = scaled_layers(context, replace(layer, target=middle), kernel, factors, clamping(target, Activation.NONE))
    return [*layers, clamp_layer(context, operator, middle, result, bounds)]


def window_layer(
    context: Context, operator: Operator, kernel: Kernel, attributes: Conv2D | DepthwiseConv2D
) -> tuple[ConvolutionLayer, Kernel]:
    """Describe a convolution up to the accumulator, and return the kernel that it really uses."""
    source = context.tensor(operator, 0)
    feature = context.feature(source)
    stride, dilation, scale = attributes.stride, attributes.dilation, 2 if feature.in_cells else 1
    size = (feature.height * scale, feature.width * scale)
    padding = window_padding(attributes, size, kernel.weights.shape[-3:-1])
    if feature.in_cells:
        kernel, padding = cell_kernel(kernel, padding)
        stride = (1, 1)
    if dilation != (1, 1) and not context.allows(Unproven.DILATION):
        kernel, dilation = spread(kernel, dilation, context.soc), (1, 1)
    height, width = kernel.weights.shape[-3:-1]
    layer = ConvolutionLayer(
        operator.index,
        f"{operator.kind} {height}x{width}",
        feature,
        context.feature(context.output(operator)),
        kernel.weights,
        kernel.zero_point,
        corrected_bias(kernel, quantised.zero_point(source)),
        stride,
        dilation,
        padding,
        quantised.zero_point(source),
        Requantise(Conversion(1, 0, 0)),
    )
    return layer, kernel


def cell_kernel(kernel: Kernel, padding: tuple[int, int]) -> tuple[Kernel, tuple[int, int]]:
    """Return the kernel of stride 1 on cells of two by two pixels that does what one of stride 2 does on pixels, and
    its padding above and on the left. Pixels of a cell that the window does not reach have the zero point for weight.
    """
    weights = kernel.weights
    outputs, height, width, channels = weights.shape
    skipped, size = cell_window((height, width), padding)
    whole = np.full((outputs, 2 * size[0], 2 * size[1], channels), kernel.zero_point, np.int8)
    whole[:, skipped[0] : skipped[0] + height, skipped[1] : skipped[1] + width] = weights
    parted = whole.reshape(outputs, size[0], 2, size[1], 2, channels).transpose(0, 1, 3, 2, 4, 5)
    above, left = (-(-before // 2) for before in padding)
    return replace(kernel, weights=parted.reshape(outputs, *size, 4 * channels)), (above, left)


def spread(kernel: Kernel, dilation: tuple[int, int], soc: Soc) -> Kernel:
    """Write a dilation as zeros between the taps: exact, and proven where the dilation itself is not.

    Raises:
        UnsupportedError: the kernel grows beyond the chip's.
    """
    *front, height, width, last = kernel.weights.shape
    reach = [(size - 1) * step + 1 for size, step in zip((height, width), dilation, strict=True)]
    if max(reach) > soc.max_kernel:
        raise UnsupportedError(f"the dilated kernel reaches over {reach[0]}x{reach[1]}, proven are {soc.max_kernel}")
    weights = np.full((*front, *reach, last), kernel.zero_point, np.int8)
    weights[..., :: dilation[0], :: dilation[1], :] = kernel.weights
    return replace(kernel, weights=weights)


def scaled_layers(
    context: Context, layer: ConvolutionLayer, kernel: Kernel, factors: npt.NDArray[np.float64], outcome: Outcome
) -> list[ConvolutionLayer]:
    """Give a layer its scales, cut into ranges of channels where one common factor is not accurate enough.

    Args:
        context: the compilation.
        layer: complete up to the accumulator.
        kernel: what its weights, scales and bias are.
        factors: accumulator to output steps: one, or one for each channel.
        outcome: what is made of the accumulators.

    Raises:
        UnsupportedError: even 16 channels are off by more than would keep the result within 1.
    """
    if len(factors) == 1:
        return [outcome.finish(layer, encode_scale(float(factors[0]), context.soc), None)]
    kernels = np.moveaxis(kernel.weights, -1, 0) if layer.depthwise else kernel.weights
    reach = accumulator_range(kernels, layer.pad_value, kernel.bias)
    # The stored biases contain the input's zero point, the accumulator's reach is that of the model's own numbers.
    cuts = cut_channels(factors, reach, outcome.visible, layer.biases, context.soc)
    note = f"operator {layer.operator}: per-channel scales spread over {len(cuts)} ranges of channels"
    if len(cuts) > 1 and note not in context.notes:
        context.notes.append(note)
    layers: list[ConvolutionLayer] = []
    before: FeatureMap | None = None
    for place, cut in enumerate(cuts):
        part = replace(layer.kernel_slice(cut.first, len(cut.fitted.biases)), biases=cut.fitted.biases)
        part = outcome.finish(part, cut.fitted.common, cut.fitted.multipliers)
        if cut.chosen is None:
            layers.append(part)
            continue
        more = place + 1 < len(cuts) and cuts[place + 1].first == cut.first
        found = class_layers(context, part, Class(cut.chosen, before, outcome.zero, last=not more))
        before = found[-1].target if more else None
        layers += found
    return layers
