"""How each kind of operator is done on this chip: the text beside its rules in ``docs/supported-operators.md``."""

from __future__ import annotations

from collections.abc import Mapping

from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS
from rocketnpu.partition.published import Means, PublishedOperator, text_of
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.rules.table import RULES

CLAMPING = (Unproven.CEILING, Unproven.LIFT)
"""Unproven rules that a clamp inside the output's range needs."""
WINDOW = (Unproven.DILATION, *CLAMPING)
_HOSTED = "The EW stage behind a convolution that brings in the other operand"
_CONSTANT = "a constant for each channel becomes the bias or kernel of a depthwise convolution"
_SINGLE = "one of a single channel is copied to all"
_FACTOR = f"an operand for each channel that is computed is read once for all pixels, {_SINGLE}"
_VECTOR = f"an operand for each channel that is computed is multiplied into a map of ones first, {_SINGLE}"
_STRETCHED = (Unproven.OPERAND_PER_CHANNEL, Unproven.ELEMENTWISE_MULTIPLY)
"""Unproven rules that an operand for each channel needs."""
_TABLE = Means(
    "Look-up table behind a 1x1 convolution: every byte falls on an entry.", (Unproven.LOOKUP, Unproven.FLYING_START)
)

MEANS: Mapping[str, Means] = {
    "CONV_2D": Means("Convolution; groups as dense blocks of 32 channels; per-channel scales in the BS stage.", WINDOW),
    "DEPTHWISE_CONV_2D": Means(
        "Depthwise convolution; dense blocks for a depth multiplier, and for per-channel scales on proven rules only.",
        (Unproven.CHANNEL_RECORDS_DEPTHWISE, *WINDOW),
    ),
    "FULLY_CONNECTED": Means("1x1 convolution over the rows.", CLAMPING),
    "ADD": Means(
        f"{_HOSTED}, the one that made it where possible; {_CONSTANT}; {_VECTOR}.",
        (Unproven.ELEMENTWISE_RELU, *_STRETCHED, *CLAMPING),
    ),
    "SUB": Means(
        f"As ADD, with a negative factor; {_CONSTANT}; {_VECTOR}.",
        (Unproven.ELEMENTWISE_RELU, *_STRETCHED, *CLAMPING),
    ),
    "MUL": Means(
        f"{_HOSTED}; {_CONSTANT}; {_FACTOR}.",
        (
            Unproven.ELEMENTWISE_MULTIPLY,
            Unproven.ELEMENTWISE_RELU,
            Unproven.OPERAND_PER_CHANNEL,
            *CLAMPING,
        ),
    ),
    **dict.fromkeys(
        ("MAXIMUM", "MINIMUM"),
        Means(
            f"{_HOSTED}; {_VECTOR}; constants for each channel by a bias and a ReLU.",
            (Unproven.ELEMENTWISE_MAXIMUM, *_STRETCHED),
        ),
    ),
    "AVERAGE_POOL_2D": Means(
        "Depthwise convolution with kernels of 255 whose output converter divides; where windows reach over the "
        "border, a factor for each pixel in the EW stage; in two steps where the map is larger than a kernel may be.",
        (Unproven.ELEMENTWISE_MULTIPLY, Unproven.ELEMENTWISE_RELU, *CLAMPING),
    ),
    "MEAN": Means("As AVERAGE_POOL_2D over whole rows, columns, or the whole map."),
    "MAX_POOL_2D": Means(
        "The pooling unit; for the mainline kernel, and for large windows, convolutions whose EW stage keeps the "
        "largest value.",
        (Unproven.POOLING_UNIT, Unproven.ELEMENTWISE_MAXIMUM, Unproven.ELEMENTWISE_RELU, Unproven.CEILING),
    ),
    **dict.fromkeys(BYTE_FUNCTIONS, _TABLE),
    "PRELU": Means(
        "The BS stage of a 1x1 convolution multiplies negative values by the channel's slope.",
        (Unproven.PARAMETRIC_RELU,),
    ),
    "RELU": Means("Depthwise 1x1 convolution with kernels of 1, or fused into the convolution before it."),
    "RELU6": Means("As RELU.", CLAMPING),
    "RELU_N1_TO_1": Means("As RELU.", CLAMPING),
    "QUANTIZE": Means("As RELU; nothing at all between UINT8 and INT8 of one scale."),
    **dict.fromkeys(
        ("PAD", "PADV2"),
        Means("Explicit padding of the convolution behind it; else a depthwise kernel that holds a single 1."),
    ),
    "CONCATENATION": Means(
        "Inputs are made where they belong; others are copied by 1x1 convolutions that select channels.",
    ),
    **dict.fromkeys(
        ("SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE"),
        Means(
            "Nothing, where slices begin at rows or groups of 16 channels; else a 1x1 convolution copies them.",
            (Unproven.SOURCE_GAP,),
        ),
    ),
    "TRANSPOSE_CONV": Means(
        "A convolution for each place in a block of stride x stride outputs, written with gaps.",
        CLAMPING,
    ),
    "RESIZE_NEAREST_NEIGHBOR": Means("A copy for each row and column of a block, written with gaps."),
    "RESIZE_BILINEAR": Means(
        "A 3x3 depthwise convolution for each place in a block, over the map with its border repeated.",
    ),
    "RESHAPE": Means(
        "Nothing: the same memory in another shape. A fully connected layer behind a map is a kernel of the map's size."
    ),
    "SQUEEZE": Means("Nothing: the same memory in another shape."),
    "EXPAND_DIMS": Means("Nothing: the same memory in another shape."),
}
"""How each kind of operator is done; every kind that has rules has an entry."""


def published() -> tuple[PublishedOperator, ...]:
    """Return what is published of every kind of operator, in alphabetical order."""
    return tuple(
        PublishedOperator(kind, MEANS[kind], tuple(text_of(rule) for rule in RULES[kind])) for kind in sorted(RULES)
    )
