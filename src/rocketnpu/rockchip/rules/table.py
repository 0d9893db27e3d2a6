"""The rules by which the NPU takes an operator, for each kind. A rule's docstring is the published rule."""

from __future__ import annotations

from collections.abc import Mapping

from rocketnpu.rockchip.rules import activation, convolution, enlarging, moving, others, pooling
from rocketnpu.rockchip.rules.common import Rule

RULES: Mapping[str, tuple[Rule, ...]] = {
    "CONV_2D": convolution.WINDOWED,
    "DEPTHWISE_CONV_2D": convolution.WINDOWED,
    "FULLY_CONNECTED": convolution.CONNECTED,
    "ADD": others.ARITHMETIC,
    "SUB": others.ARITHMETIC,
    "MUL": others.ARITHMETIC,
    "MAXIMUM": others.EXTREMES,
    "MINIMUM": others.EXTREMES,
    "AVERAGE_POOL_2D": others.AVERAGE,
    "MAX_POOL_2D": pooling.MAXIMUM,
    "MEAN": others.MEAN,
    "RELU": others.CLAMP,
    "RELU6": others.CLAMP,
    "RELU_N1_TO_1": others.CLAMP,
    "QUANTIZE": others.REQUANTISE,
    "LOGISTIC": activation.LOGISTIC,
    "TANH": activation.LOOKUP,
    "HARD_SWISH": activation.LOOKUP,
    "ELU": activation.LOOKUP_SIGNED,
    "EXP": activation.LOOKUP_SIGNED,
    "LOG": activation.LOOKUP_SIGNED,
    "RSQRT": activation.MULTIPLIED,
    "ABS": activation.MULTIPLIED,
    "GELU": activation.LOOKUP,
    "LEAKY_RELU": activation.LEAKY,
    "BYTE_FUNCTION": activation.LOOKUP,
    "PRELU": activation.PARAMETRIC,
    "TRANSPOSE_CONV": enlarging.TRANSPOSED,
    "RESIZE_NEAREST_NEIGHBOR": enlarging.NEAREST,
    "RESIZE_BILINEAR": enlarging.BILINEAR,
    "PAD": moving.PADDED,
    "PADV2": moving.PADDED,
    "CONCATENATION": moving.JOINED,
    "SPLIT": moving.SLICED,
    "SPLIT_V": moving.SLICED,
    "SLICE": moving.SLICED,
    "STRIDED_SLICE": moving.SLICED,
    "RESHAPE": others.VIEW,
    "SQUEEZE": others.VIEW,
    "EXPAND_DIMS": others.EXPANDED,
}
"""Rules for each kind of operator that the NPU can take, in the order in which they are tried: a rule may rely on those
before it."""
