"""The rules by which the NPU takes an operator and how it does it, for each kind. A rule's docstring is published."""

from __future__ import annotations

from collections.abc import Mapping

from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS
from rocketnpu.partition.published import Means, PublishedOperator, text_of
from rocketnpu.verisilicon.evidence import Unproven
from rocketnpu.verisilicon.rules import convolution, others
from rocketnpu.verisilicon.rules.common import Rule

RULES: Mapping[str, tuple[Rule, ...]] = {
    "CONV_2D": convolution.WINDOWED,
    "DEPTHWISE_CONV_2D": convolution.WINDOWED,
    "FULLY_CONNECTED": convolution.CONNECTED,
    "ADD": others.SUM,
    "SUB": others.SUM,
    "AVERAGE_POOL_2D": others.AVERAGE,
    "MEAN": others.MEAN,
    "RELU": others.CLAMP,
    "RELU6": others.CLAMP,
    "RELU_N1_TO_1": others.CLAMP,
    "QUANTIZE": others.REQUANTISE,
    "LOGISTIC": others.LOGISTIC,
    "TANH": others.LOOKUP,
    "HARD_SWISH": others.LOOKUP,
    "ELU": others.LOOKUP_SIGNED,
    "EXP": others.LOOKUP_SIGNED,
    "LOG": others.LOOKUP_SIGNED,
    "RSQRT": others.MULTIPLIED,
    "ABS": others.MULTIPLIED,
    "GELU": others.LOOKUP,
    "LEAKY_RELU": others.LEAKY,
    "BYTE_FUNCTION": others.LOOKUP,
    "PAD": others.PADDED,
    "PADV2": others.PADDED,
    "CONCATENATION": others.JOINED,
    "SPLIT": others.SLICED,
    "SPLIT_V": others.SLICED,
    "SLICE": others.SLICED,
    "STRIDED_SLICE": others.SLICED,
    "RESHAPE": others.VIEW,
    "SQUEEZE": others.VIEW,
    "EXPAND_DIMS": others.EXPANDED,
}
"""Rules for each kind of operator, in the order in which they are tried: a rule may rely on those before it."""
_SCALES = "several scales are folded into the weights, and what that rounds away is a second job and a sum"
_TABLE = Means("Look-up of the tensor processors; refused where the best table is more than one step off.")
_CLAMP = Means("Look-up of the tensor processors, a second one for an upper limit inside the output's range.")
_SUM = Means("Both operands as planes of one image, under a 1x1 kernel of two weights; constants go into the bias.")
_VIEW = Means("Nothing where the order in memory stays; else by way of the host's order, with one or two moves.")
MEANS: Mapping[str, Means] = {
    "CONV_2D": Means(
        f"NN convolution; a stride of 2 over an image that is cut into four, or by keeping the first of each 2x2; "
        f"upper clamps inside the output's range by a look-up; {_SCALES}."
    ),
    "DEPTHWISE_CONV_2D": Means(
        f"Generation 8: depthwise kernels; generation 7, and multipliers: dense kernels of zero points; {_SCALES}."
    ),
    "FULLY_CONNECTED": Means("1x1 convolution over the rows; clamps and scales as CONV_2D."),
    "ADD": _SUM,
    "SUB": _SUM,
    "AVERAGE_POOL_2D": Means("Depthwise kernels of 1 where no window reaches over the border; whole maps as MEAN."),
    "MEAN": Means(
        "Generation 8: depthwise kernels of 1; generation 7, and large maps: the map is turned into pixels, and a 1x1 "
        "convolution sums its planes."
    ),
    **dict.fromkeys(("RELU", "RELU6", "RELU_N1_TO_1", "QUANTIZE"), _CLAMP),
    **dict.fromkeys(BYTE_FUNCTIONS, _TABLE),
    **dict.fromkeys(("PAD", "PADV2"), Means("Padding of the convolution behind it; else a copy into a larger map.")),
    "CONCATENATION": Means(
        "Inputs are made where they belong; others are copied, a look-up before where their scale is another.",
        (Unproven.PLACED_SCAN,),
    ),
    **dict.fromkeys(
        ("SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE"),
        Means("Nothing for channels; else a copy of a window of the map.", (Unproven.INNER_WINDOW,)),
    ),
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _VIEW),
}
"""How each kind of operator is done; every kind that has rules has an entry."""


def published() -> tuple[PublishedOperator, ...]:
    """Return what is published of every kind of operator, in alphabetical order."""
    return tuple(
        PublishedOperator(kind, MEANS[kind], tuple(text_of(rule) for rule in RULES[kind])) for kind in sorted(RULES)
    )
