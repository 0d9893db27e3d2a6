"""What a model's numbers are, in words: quantised for an NPU, or something that only looks like it."""

from __future__ import annotations

from rocketnpu.graph import DType, Graph, Tensor

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_ADVICE = "quantise activations too (full-integer quantisation with a representative data set)"
EDGE_TPU = "CUSTOM:edgetpu-custom-op"
DYNAMIC = frozenset(
    f"ONNX:{domain}{name}"
    for domain, names in (
        ("", ("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger")),
        ("com.microsoft.", ("DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")),
    )
    for name in names
)
"""Kinds of ONNX's operators whose scales are worked out from each input, when it comes."""
_PRODUCTS = frozenset(("ONNX:Conv", "ONNX:ConvTranspose", "ONNX:Gemm", "ONNX:MatMul"))


def remark(graph: Graph) -> str:
    """Say what keeps a whole model from the NPU, and what to do instead; empty where nothing does."""
    if any(operator.kind == EDGE_TPU for operator in graph.operators):
        return "compiled for the Edge TPU, its operators are hidden: use the file that edgetpu_compiler was given"
    found = set()
    for operator in graph.operators:
        if operator.kind in _WEIGHTED:
            features = graph.input_of(operator, 2 if operator.kind == "TRANSPOSE_CONV" else 0)
            found.add((features.dtype, *_weights(graph, graph.input_of(operator, 1))))
    if not found:
        return _onnx_remark(graph)
    activations = {entry[0] for entry in found}
    if activations == {DType.INT16}:
        return "activations are INT16 (16x8 quantisation), the NPU computes on bytes: quantise to INT8"
    if activations != {DType.FLOAT32}:
        return ""
    return _float_remark({entry[1] for entry in found}, {entry[2] for entry in found})


def _onnx_remark(graph: Graph) -> str:
    """Name an ONNX model none of whose products are quantised as the NPU needs it."""
    kinds = {operator.kind for operator in graph.operators}
    if kinds & DYNAMIC:
        return f"activations get their scales at run time (dynamic quantisation): {_ADVICE}"
    if not kinds & _PRODUCTS:
        return ""
    types = {tensor.dtype for tensor in graph.tensors.values()}
    half = "float16" if DType.FLOAT16 in types else "float"
    return f"a {half} model, no product of it is quantised: {_ADVICE}"


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
