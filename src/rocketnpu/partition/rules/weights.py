"""Rules about constant weights and biases."""

from __future__ import annotations

from rocketnpu.graph import DType, Graph, Operator
from rocketnpu.graph.operators import FullyConnected
from rocketnpu.partition.rules.tensors import features, input_tensor


def constant_weights(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Weights are constant and of the input's type, or INT8; INT8 weights have zero point 0, but for those of
    FULLY_CONNECTED that have one scale.
    """
    weights, source = input_tensor(graph, operator, 1), features(graph, operator)[0]
    if weights is None or not weights.is_constant:
        return "they are computed at run time"
    if weights.dtype not in (source.dtype, DType.INT8):
        return f"weights are {weights.dtype.value}"
    quantisation = weights.quantisation
    if quantisation is None or not (quantisation.scales > 0).all():
        return "they have no scale"
    # LiteRT's CONV_2D refuses them, DEPTHWISE_CONV_2D and TRANSPOSE_CONV ignore them, FULLY_CONNECTED counts them.
    shifted = weights.dtype is DType.INT8 and quantisation.zero_points.any() and operator.kind != "FULLY_CONNECTED"
    if shifted or (quantisation.is_per_channel and (weights.dtype is not DType.INT8 or quantisation.zero_points.any())):
        return f"{weights.dtype.value} weights with {quantisation} and zero points {quantisation.zero_points}"
    return None


def scales_by_output(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Several weight scales are one for each output channel."""
    weights = input_tensor(graph, operator, 1)
    assert weights is not None
    assert weights.quantisation is not None
    axis = 3 if operator.kind == "DEPTHWISE_CONV_2D" else 0
    if weights.quantisation.is_per_channel and weights.quantisation.axis != axis:
        return f"scales are along axis {weights.quantisation.axis}"
    return None


def constant_bias(graph: Graph, operator: Operator, soc: object) -> str | None:
    """A bias is constant, INT32, and one for each output channel."""
    bias = input_tensor(graph, operator, 3 if operator.kind == "TRANSPOSE_CONV" else 2)
    if bias is None:
        return None
    if not bias.is_constant or bias.dtype is not DType.INT32:
        return f"it is {'constant' if bias.is_constant else 'computed'} {bias.dtype.value}"
    outputs = graph.tensors[operator.outputs[0]].shape[-1]
    return f"it has {bias.elements} values for {outputs} channels" if bias.elements != outputs else None


def plain_weights(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Weights are a plain matrix, and the input is rows as long as its second dimension, or a map of so many values."""
    attributes = operator.attributes
    assert isinstance(attributes, FullyConnected)
    weights, source = input_tensor(graph, operator, 1), input_tensor(graph, operator, 0)
    assert source is not None
    assert weights is not None
    if attributes.shuffled_weights or len(weights.shape) != 2:
        return f"weights have shape {weights.shape}{' and are shuffled' if attributes.shuffled_weights else ''}"
    return f"input has shape {source.shape}" if source.shape[-1:] != weights.shape[1:] else None
