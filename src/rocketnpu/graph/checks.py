"""What must hold for a single operator: how many tensors it takes, their shapes, and usable scales.

LiteRT aborts the process on some of what is refused here, so nothing may reach it unchecked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rocketnpu.errors import ModelError
from rocketnpu.graph import operators as ops
from rocketnpu.graph.needs import Tensors
from rocketnpu.graph.operators import Operator
from rocketnpu.graph.shapes import UNARY, output_shapes
from rocketnpu.graph.tensors import DType, Tensor

_ANY = 1 << 16
_PAIRED = (
    *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "MEAN", "SUM", "REDUCE_MAX"),
    *("REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "PRELU"),
    *("PAD", "MIRROR_PAD", "EXPAND_DIMS", "TRANSPOSE", "TILE", "GATHER", "GATHER_ND", "ARG_MAX", "ARG_MIN", "POW"),
    *("BATCH_MATMUL", "FLOOR_DIV", "FLOOR_MOD", "EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "FILL"),
    *("GREATER_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "EMBEDDING_LOOKUP", "BROADCAST_TO", "CUMSUM", "REVERSE_V2"),
    *("BROADCAST_ARGS", "REVERSE_SEQUENCE"),
)
_ARITY: dict[str, tuple[int, int, int]] = {
    "CONV_2D": (2, 3, 1),
    ops.CONV_ADD: (3, 4, 1),
    "DEPTHWISE_CONV_2D": (2, 3, 1),
    "TRANSPOSE_CONV": (3, 4, 1),
    "FULLY_CONNECTED": (2, 3, 2),
    "CONCATENATION": (1, _ANY, 1),
    "RESHAPE": (1, 2, 1),
    "PADV2": (3, 3, 1),
    "SLICE": (3, 3, 1),
    "STRIDED_SLICE": (4, 5, 1),
    "SPLIT": (2, 2, _ANY),
    "SPLIT_V": (3, 3, _ANY),
    "PACK": (1, _ANY, 1),
    "UNPACK": (1, 1, _ANY),
    "SELECT": (3, 3, 1),
    "SELECT_V2": (3, 3, 1),
    **dict.fromkeys(
        ("SQUEEZE", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "SHAPE", "RANK", "ZEROS_LIKE", "SOFTMAX", "DENSIFY"), (1, 1, 1)
    ),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), (1, 1, 1)),
    **dict.fromkeys(UNARY, (1, 1, 1)),
    **dict.fromkeys(_PAIRED, (2, 2, 1)),
    **dict.fromkeys(("BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND", "RANGE"), (3, 3, 1)),
}
"""Fewest and most inputs, most outputs."""
_OPTIONAL_BIAS = {"CONV_2D", ops.CONV_ADD, "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
"""Operators whose last input may be marked as absent; all others need each input that they list."""
_INTEGERS = {DType.INT8, DType.UINT8, DType.INT16}
_CONVOLUTIONS = {"CONV_2D": 0, ops.CONV_ADD: 0, "DEPTHWISE_CONV_2D": 0, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 2}
"""Position of the features; the weights are input 1."""
_NEED_BIAS = {"CONV_2D", "DEPTHWISE_CONV_2D"}
"""LiteRT refuses an integer CONV_2D without bias, and its optimised DEPTHWISE_CONV_2D crashes."""
_SCALED = {
    *("ADD", "SUB", "MUL", "DIV", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SOFTMAX", "LOGISTIC", "TANH", "RELU"),
    *("RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "PRELU", "HARD_SWISH", "GELU", "ELU", "QUANTIZE", "DEQUANTIZE"),
    "BYTE_FUNCTION",
}
_SAME_TYPE = {
    *(kind for kind in UNARY if kind not in {"QUANTIZE", "DEQUANTIZE", "CAST"}),
    *("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "AVERAGE_POOL_2D", "SOFTMAX"),
    *("MAX_POOL_2D", "CONCATENATION", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "RESIZE_BILINEAR", "RESHAPE", "PAD"),
    *("RESIZE_NEAREST_NEIGHBOR", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "PRELU", "PADV2"),
    *("MIRROR_PAD", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH"),
}
"""Operators whose output has the element type of their first input."""
_RECURRENT = {
    *("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "SVDF"),
    *("RNN", "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN"),
}
"""The same, and LiteRT's kernels do not look: into an output of smaller elements they write beyond its memory."""
_SCALE_RANGE = (2.0**-60, 2.0**60)
_MAX_MULTIPLIER = 2.0**30
"""LiteRT's multipliers have 31 bits and may not be shifted further left than 30."""
_MAX_RATIO = 2.0**19
"""LiteRT's ADD and SUB work with 20 bits of head room for twice the larger input scale."""
_MIN_SOFTMAX = 2.0**-26
"""LiteRT's SOFTMAX wants ``beta * scale * 2**26`` above 1."""


def check_operator(operator: Operator, tensors: Mapping[int, Tensor]) -> None:
    """Check one operator of a graph against its tensors.

    Raises:
        ModelError: too few or many tensors, shapes that disagree, or a scale with which nothing can be computed;
            the message names the operator.
    """
    inputs = [None if number is None else tensors[number] for number in operator.inputs]
    outputs = [tensors[number] for number in operator.outputs]
    try:
        _check_arity(operator)
        _check_types(operator, inputs, outputs)
        _check_scales(operator, inputs, outputs)
        _check_offsets(operator, inputs)
        if not any(tensor is not None and tensor.is_dynamic for tensor in (*inputs, *outputs)):
            _check_shapes(operator, inputs, outputs)
    except ModelError as error:
        raise ModelError(f"operator {operator.index} ({operator.kind}): {error}") from None


def arity_error(operator: Operator) -> str | None:
    """Say what is wrong with the number of an operator's tensors, or return None."""
    if operator.kind not in _ARITY:
        return None
    fewest, most, results = _ARITY[operator.kind]
    count, made = len(operator.inputs), len(operator.outputs)
    if not fewest <= count <= most:
        return f"it has {count} inputs, {fewest} to {most} are known"
    if not 1 <= made <= results:
        return f"it has {made} outputs, 1 to {results} are known"
    needed = operator.inputs[:fewest] if operator.kind in _OPTIONAL_BIAS else operator.inputs
    return f"input {operator.inputs.index(None)} is missing" if None in needed else None


def _check_arity(operator: Operator) -> None:
    failed = arity_error(operator)
    if failed:
        raise ModelError(failed)


def _check_shapes(operator: Operator, inputs: Tensors, outputs: Sequence[Tensor]) -> None:
    expected = output_shapes(operator, inputs, outputs)
    for position, (shape, tensor) in enumerate(zip(expected or (), outputs, strict=False)):
        if shape != tensor.shape:
            raise ModelError(f"output {position} has shape {tensor.shape}, its inputs make {shape}")


def _check_offsets(operator: Operator, inputs: Tensors) -> None:
    """Refuse slices that are counted from where they begin and end elsewhere than in their input: LiteRT clamps their
    ends to nothing, does not look at the masks, and reads what lies behind.
    """
    attributes, source = operator.attributes, inputs[0] if inputs else None
    if not isinstance(attributes, ops.StridedSlice) or not attributes.offset or source is None:
        return
    if attributes.begin_mask or attributes.end_mask:
        raise ModelError("its ends are counted from where it begins, and masked")
    limits = [None if tensor is None or tensor.data is None else tensor.data.reshape(-1) for tensor in inputs[1:4]]
    if any(values is None for values in limits):
        return
    numbers = [values.tolist() for values in limits if values is not None]
    for size, begin, count, step in zip(source.shape, *numbers, strict=False):
        if step < 1 or begin < 0 or count < 1 or begin + count > size:
            raise ModelError(f"it takes {count} from {begin} of a dimension of {size}")


def _check_types(operator: Operator, inputs: Tensors, outputs: Sequence[Tensor]) -> None:
    first = inputs[0] if inputs else None
    if first is None or first.dtype is DType.OTHER or operator.kind not in _SAME_TYPE | _RECURRENT:
        return
    allowed = {first.dtype} if operator.kind in _RECURRENT else {first.dtype, DType.OTHER}
    if operator.kind == "SOFTMAX" and first.dtype in _INTEGERS:
        allowed.add(DType.INT16)
    results = outputs[: 2 if operator.kind.startswith("BIDIRECTIONAL_") else 1]
    wrong = next((tensor.dtype for tensor in results if tensor.dtype not in allowed), None)
    if wrong is not None:
        raise ModelError(f"its input is {first.dtype.value}, its output {wrong.value}")


def _check_scales(operator: Operator, inputs: Tensors, outputs: Sequence[Tensor]) -> None:
    if operator.kind in _CONVOLUTIONS:
        features, weights = inputs[_CONVOLUTIONS[operator.kind]], inputs[1]
        if features is None or weights is None or features.dtype not in _INTEGERS:
            return
        if weights.quantisation is None:
            raise ModelError("its weights have no scale")
        if operator.kind in _NEED_BIAS and operator.input(2) is None:
            raise ModelError("it has no bias, which LiteRT's integer kernels need")
        product = _scale(features) * weights.quantisation.scales.astype(np.float64) / _scale(outputs[0])
        if np.any(product >= _MAX_MULTIPLIER):
            raise ModelError(f"its scales make a multiplier of {float(product.max()):g}")
        return
    if operator.kind not in _SCALED:
        return
    sources = [_scale(tensor) for tensor in inputs if tensor is not None and tensor.dtype in _INTEGERS]
    results = [_scale(tensor) for tensor in outputs if tensor.dtype in _INTEGERS]
    if sources and results and max(sources) / min(results) >= _MAX_RATIO:
        raise ModelError(f"its input scale {max(sources):g} is out of proportion to its output scale {min(results):g}")
    attributes = operator.attributes
    if isinstance(attributes, ops.Softmax) and sources and not attributes.beta * sources[0] > _MIN_SOFTMAX:
        raise ModelError(f"beta {attributes.beta:g} times the input scale {sources[0]:g} is too small")


def _scale(tensor: Tensor) -> float:
    """Return the scale of a tensor that is computed with."""
    if tensor.quantisation is None:
        raise ModelError(f"tensor {tensor.index} ({tensor.name}) is {tensor.dtype.value} but has no scale")
    scale = tensor.quantisation.scale
    if not _SCALE_RANGE[0] <= scale <= _SCALE_RANGE[1]:
        raise ModelError(f"tensor {tensor.index} ({tensor.name}) has a scale of {scale:g}")
    return scale
