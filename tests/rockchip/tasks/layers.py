"""Plain convolution layers to try the cutting on."""

from __future__ import annotations

import numpy as np

from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import Conversion


def plain_layer(size: int, window: int, channels: int, kernels: int, stride: int = 1) -> ConvolutionLayer:
    """A convolution of a square map with weights of zero."""
    made = -(-size // stride)
    return ConvolutionLayer(
        0,
        "CONV_2D",
        FeatureMap.packed("x", size, size, channels, 16),
        FeatureMap.packed("y", made, made, kernels, 16),
        np.zeros((kernels, window, window, channels), np.int8),
        0,
        np.zeros(kernels, np.int64),
        (stride, stride),
        (1, 1),
        (window // 2, window // 2),
        0,
        Requantise(Conversion(1 << 14, 14, 0)),
    )
