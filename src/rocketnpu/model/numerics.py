"""What a model's numbers are, in words: quantised for an NPU, or something that only looks like it."""

from __future__ import annotations

from rocketnpu.graph import DType, Graph, Tensor

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_ADVICE = "quantise activations too (full-integer quantisation with a representative data set)"
EDGE_TPU = "CUSTOM:edgetpu-custom-op"


def remark(graph: Graph) -> str:
    """Say what keeps a whole model from the NPU, and what to do instead; empty where nothing does."""
    if any(operator.kind == EDGE_TPU for operator in graph.operators):
        return "compiled for the Edge TPU, its operators are hidden: use the file that edgetpu_compiler was given"
    found = set()
    for operator in graph.operators:
        if operator.kind in _WEIGHTED:
            features = graph.input_of(operator, 2 if operator.kind == "TRANSPOSE_CONV" else 0)
            found.add((features.dtype, *_weights(graph, graph.input_of(operator, 1))))
    activations = {entry[0] for entry in found}
    if activations == {DType.INT16}:
        return "activations are INT16 (16x8 quantisation), the NPU computes on bytes: quantise to INT8"
    if activations != {DType.FLOAT32}:
        return ""
    return _float_remark({entry[1] for entry in found}, {entry[2] for entry in found})


def _float_remark(weights: set[DType], stored: set[DType]) -> str:
    """Name a model that computes in float by what its weights are, as read and as stored."""
    if DType.INT8 in weights:
        return f"weights are INT8 but activations float (dynamic-range quantisation): {_ADVICE}"
    if DType.INT8 in stored:
        return f"only the weights are stored as INT8, all is computed in float (weight-only quantisation): {_ADVICE}"
    if DType.FLOAT16 in weights | stored:
        return "weights are float16, all is computed in float: use full-integer quantisation (INT8)"
    return "a float model, nothing of it is quantised: use full-integer quantisation (INT8)"


def _weights(graph: Graph, weights: Tensor) -> tuple[DType, DType]:
    """Return the type of weights as a layer reads them, and as the model stores them."""
    maker = graph.producers.get(weights.index)
    while maker is not None and maker.kind in ("DEQUANTIZE", "DENSIFY"):
        stored = graph.input_of(maker, 0)
        if stored.index not in graph.producers:
            return weights.dtype, stored.dtype
        maker = graph.producers.get(stored.index)
    return weights.dtype, weights.dtype
