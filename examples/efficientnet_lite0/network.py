"""EfficientNet-Lite0 as a float32 TFLite model, from the tensors of its PyTorch checkpoint.

The checkpoint's convolutions pad as TensorFlow does (its class is called ``Conv2dStaticSamePadding``, and the state's
metadata has a ``static_padding`` beside each convolution): at stride 2 the odd row and column of padding lie below and
on the right. That is TFLite's SAME, so no PAD is needed. Batch normalisation is folded into the convolution before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph.operators import Arithmetic, Conv2D, DepthwiseConv2D, FullyConnected, Pool2D, Softmax
from rocketnpu.model.builder import ModelBuilder

Array = npt.NDArray[Any]
SIZE = 224
CLASSES = 1000
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class Stage:
    """Blocks of one kind; only the first has the stride, and only it changes the number of channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class Map:
    """A tensor of the model under construction: height = width = ``size``."""

    number: int
    size: int
    channels: int


class Network:
    """Adds the layers one by one; tensors are named after the checkpoint's modules."""

    def __init__(self, checkpoint: Mapping[str, Array]) -> None:
        self.checkpoint = checkpoint
        self.builder = ModelBuilder()

    def convolution(self, source: Map, name: str, norm: str, stride: int = 1, *, linear: bool = False) -> Map:
        """Add a convolution with its batch normalisation and, unless ``linear``, ReLU6."""
        weights, bias = self._folded(name, norm)
        activation = Activation.NONE if linear else Activation.RELU6
        target = self._map(-(-source.size // stride), weights.shape[0], name)
        inputs = [source.number, self._constant(weights.transpose(0, 2, 3, 1), f"{name}/weight")]
        inputs.append(self._constant(bias, f"{name}/bias"))
        attributes = Conv2D((stride, stride), Padding.SAME, activation=activation)
        self.builder.operator("CONV_2D", inputs, [target.number], attributes)
        return target

    def depthwise(self, source: Map, name: str, norm: str, stride: int) -> Map:
        """Add a depthwise convolution with its batch normalisation and ReLU6."""
        weights, bias = self._folded(name, norm)
        target = self._map(-(-source.size // stride), source.channels, name)
        inputs = [source.number, self._constant(weights.transpose(1, 2, 3, 0), f"{name}/weight")]
        inputs.append(self._constant(bias, f"{name}/bias"))
        attributes = DepthwiseConv2D((stride, stride), Padding.SAME, activation=Activation.RELU6)
        self.builder.operator("DEPTHWISE_CONV_2D", inputs, [target.number], attributes)
        return target

    def add(self, one: Map, other: Map, name: str) -> Map:
        """Add two maps."""
        target = self._map(one.size, one.channels, name)
        self.builder.operator("ADD", [one.number, other.number], [target.number], Arithmetic())
        return target

    def block(self, source: Map, name: str, stage: Stage, stride: int) -> Map:
        """Add an inverted residual block."""
        inside = source
        if stage.expansion > 1:
            inside = self.convolution(source, f"{name}._expand_conv", f"{name}._bn0")
        inside = self.depthwise(inside, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        target = self.convolution(inside, f"{name}._project_conv", f"{name}._bn2", linear=True)
        if stride == 1 and source.channels == target.channels:
            target = self.add(target, source, f"{name}.add")
        return target

    def classifier(self, source: Map) -> int:
        """Add average pool, fully connected layer and softmax; returns the number of the output."""
        pooled = self._map(1, source.channels, "_avg_pooling")
        window = Pool2D((source.size, source.size), Padding.VALID, (source.size, source.size))
        self.builder.operator("AVERAGE_POOL_2D", [source.number], [pooled.number], window)
        scores, output = (self.builder.tensor((1, CLASSES), DType.FLOAT32, name=name) for name in ("_fc", "softmax"))
        weights = self._constant(self.checkpoint["_fc.weight"], "_fc/weight")
        bias = self._constant(self.checkpoint["_fc.bias"], "_fc/bias")
        self.builder.operator("FULLY_CONNECTED", [pooled.number, weights, bias], [scores], FullyConnected())
        self.builder.operator("SOFTMAX", [scores], [output], Softmax())
        return output

    def _folded(self, name: str, norm: str) -> tuple[Array, Array]:
        """Return a convolution's weights (OIHW) and bias with the batch normalisation behind it folded in."""
        gamma, beta, mean, variance = (
            self.checkpoint[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        weights = self.checkpoint[f"{name}.weight"] * factor[:, None, None, None]
        return weights.astype(np.float32), (beta - mean * factor).astype(np.float32)

    def _map(self, size: int, channels: int, name: str) -> Map:
        return Map(self.builder.tensor((1, size, size, channels), DType.FLOAT32, name=name), size, channels)

    def _constant(self, values: Array, name: str) -> int:
        return self.builder.tensor(values.shape, DType.FLOAT32, data=values, name=name)


def blocks() -> Iterator[tuple[Stage, int]]:
    """Return each block's stage and stride, in order."""
    for stage in STAGES:
        yield from ((stage, stage.stride if place == 0 else 1) for place in range(stage.repeats))


def float_model(checkpoint: Mapping[str, Array]) -> bytes:
    """Return the float32 model; its input is ``(pixel - 127) / 128``, its output 1000 probabilities."""
    network = Network(checkpoint)
    picture = network.builder.tensor((1, SIZE, SIZE, 3), DType.FLOAT32, name="picture")
    features = network.convolution(Map(picture, SIZE, 3), "_conv_stem", "_bn0", 2)
    for place, (stage, stride) in enumerate(blocks()):
        features = network.block(features, f"_blocks.{place}", stage, stride)
    features = network.convolution(features, "_conv_head", "_bn1")
    return network.builder.build([picture], [network.classifier(features)])
