"""Operators of the graph. Attributes are those that change what is computed, with TFLite's meanings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Padding(Enum):
    """TFLite's two padding rules."""

    SAME = "SAME"
    VALID = "VALID"


class Activation(Enum):
    """Activations that TFLite fuses into an operator."""

    NONE = "NONE"
    RELU = "RELU"
    RELU_N1_TO_1 = "RELU_N1_TO_1"
    RELU6 = "RELU6"
    TANH = "TANH"
    SIGN_BIT = "SIGN_BIT"


Pads = tuple[tuple[int, int], tuple[int, int]]
"""Pixels of padding: above and below, left and right."""


@dataclass(frozen=True)
class Conv2D:
    """CONV_2D: inputs are features NHWC, weights OHWI, optional bias O (int32)."""

    stride: tuple[int, int]
    """Rows, columns; so are all pairs below."""
    padding: Padding
    dilation: tuple[int, int] = (1, 1)
    activation: Activation = Activation.NONE
    pads: Pads | None = None
    """Explicit padding with the input's zero point, where ``padding`` is VALID. TFLite has none: passes make it."""


@dataclass(frozen=True)
class DepthwiseConv2D:
    """DEPTHWISE_CONV_2D: weights 1HWC with ``C = input channels * depth multiplier``."""

    stride: tuple[int, int]
    padding: Padding
    dilation: tuple[int, int] = (1, 1)
    activation: Activation = Activation.NONE
    depth_multiplier: int = 1
    pads: Pads | None = None
    """As of :class:`Conv2D`."""


CONV_ADD = "CONV_2D+ADD"
"""Kind of a convolution fused with the addition behind it. TFLite has none: a pass makes it."""


@dataclass(frozen=True)
class ConvAdd:
    """A convolution whose output is added to a feature map: inputs are features, weights, addend, optional bias."""

    convolution: Conv2D
    """Its activation is none."""
    middle_scale: float
    """Quantisation of the tensor that there is no more; its range still limits the convolution."""
    middle_zero_point: int
    activation: Activation = Activation.NONE
    """Of the sum."""


@dataclass(frozen=True)
class TransposeConv:
    """TRANSPOSE_CONV: inputs are the output shape (int32), weights OHWI, features, optional bias."""

    stride: tuple[int, int]
    padding: Padding
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class FullyConnected:
    """FULLY_CONNECTED: features are flattened to rows of the weights' second dimension."""

    activation: Activation = Activation.NONE
    keep_dims: bool = False
    shuffled_weights: bool = False


@dataclass(frozen=True)
class Pool2D:
    """AVERAGE_POOL_2D or MAX_POOL_2D."""

    stride: tuple[int, int]
    padding: Padding
    kernel: tuple[int, int]
    activation: Activation = Activation.NONE
    pads: Pads | None = None
    """As of :class:`Conv2D`; of an average they count."""
    border: int | None = None
    """The element that ``pads`` are made of, where that is not the zero point; of a maximum only."""


@dataclass(frozen=True)
class Arithmetic:
    """ADD, SUB, MUL, DIV: broadcasting as NumPy's."""

    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class Concatenation:
    """CONCATENATION along ``axis`` (may be negative)."""

    axis: int
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class Reduce:
    """MEAN, SUM, REDUCE_MAX, REDUCE_MIN: the axes are the second input."""

    keep_dims: bool = False


@dataclass(frozen=True)
class Resize:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR: the size is the second input."""

    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True)
class LeakyRelu:
    """LEAKY_RELU with the slope for negative values."""

    alpha: float = 0.0


@dataclass(frozen=True)
class Softmax:
    """SOFTMAX over the last axis."""

    beta: float = 1.0


@dataclass(frozen=True)
class Gelu:
    """GELU, exact or by the tanh approximation."""

    approximate: bool = False


@dataclass(frozen=True)
class StridedSlice:
    """STRIDED_SLICE's bit masks, and whether its ends are counted from where it begins."""

    begin_mask: int = 0
    end_mask: int = 0
    ellipsis_mask: int = 0
    new_axis_mask: int = 0
    shrink_axis_mask: int = 0
    offset: bool = False


@dataclass(frozen=True)
class ByteFunction:
    """BYTE_FUNCTION: each byte becomes another. TFLite has none: readers and passes make it."""

    values: tuple[int, ...]
    """The output's value for each of the input's 256, the lowest first."""


@dataclass(frozen=True)
class Pack:
    """PACK or UNPACK along ``axis`` (may be negative)."""

    axis: int = 0


@dataclass(frozen=True)
class Gather:
    """GATHER along ``axis`` (may be negative), the first ``batch_dims`` dimensions being those of the indices too."""

    axis: int = 0
    batch_dims: int = 0


@dataclass(frozen=True)
class Squeeze:
    """SQUEEZE of these axes (may be negative); of all of size 1 where there are none."""

    axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Block:
    """DEPTH_TO_SPACE or SPACE_TO_DEPTH with square blocks."""

    size: int = 1


@dataclass(frozen=True)
class MirrorPad:
    """MIRROR_PAD: symmetric repeats the border pixel, else it is the mirror's axis."""

    symmetric: bool = False


@dataclass(frozen=True)
class Foreign:
    """An operator of another format that has no counterpart here; its host runs it."""

    reason: str
    """Why, in words for the user."""
    macs: int = 0
    """Multiply-accumulates, as far as they are known."""


@dataclass(frozen=True)
class NoAttributes:
    """The operator is told everything by its inputs, or this project does not look inside it."""


Attributes = (
    Conv2D
    | DepthwiseConv2D
    | ConvAdd
    | TransposeConv
    | FullyConnected
    | Pool2D
    | Arithmetic
    | Concatenation
    | Reduce
    | Resize
    | LeakyRelu
    | Softmax
    | Gelu
    | StridedSlice
    | Pack
    | Gather
    | Squeeze
    | Block
    | MirrorPad
    | ByteFunction
    | Foreign
    | NoAttributes
)


@dataclass(frozen=True)
class Operator:
    """One operator: TFLite's name, tensor numbers in and out, attributes.

    An optional input that is absent is None, as in TFLite's list. ``kind`` of a custom operator is
    ``"CUSTOM:name"``.
    """

    index: int
    kind: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    attributes: Attributes = NoAttributes()
    custom_options: bytes = b""
    """Of a custom operator, as in the file."""

    def input(self, position: int) -> int | None:
        """Return the tensor number at ``position``, or None where the list ends before it or it is absent."""
        return self.inputs[position] if position < len(self.inputs) else None

    def __str__(self) -> str:
        inputs = ", ".join("-" if number is None else f"t{number}" for number in self.inputs)
        outputs = ", ".join(f"t{number}" for number in self.outputs)
        return f"{self.index:3} {self.kind} ({inputs}) -> {outputs} {self.attributes}"
