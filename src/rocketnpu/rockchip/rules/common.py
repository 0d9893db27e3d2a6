"""Rules that many operators share, and what rules are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rocketnpu.arithmetic.reference_range import out_of_range
from rocketnpu.graph import Activation, DType, Graph, Operator, Tensor
from rocketnpu.rockchip.lowering.context import map_shape
from rocketnpu.rockchip.soc import Soc

Rule = Callable[[Graph, Operator, Soc], str | None]
"""Returns None where the operator satisfies it, else the value that fails. Its docstring is the published rule."""

_BYTES = (DType.INT8, DType.UINT8)
_CLAMPS = (Activation.NONE, Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1)


SMALLEST_SCALE = 2.0**-126
"""The smallest normal number of single precision: the reciprocal of a smaller scale is infinite in LiteRT's kernels."""


def input_tensor(graph: Graph, operator: Operator, position: int) -> Tensor | None:
    """Return an input tensor, or None where it is absent."""
    number = operator.input(position)
    return None if number is None else graph.tensors[number]


FEATURES: Mapping[str, int] = {"SPLIT": 1, "TRANSPOSE_CONV": 2}
"""Position of the input that is a feature map, where it is not the first."""


def features(graph: Graph, operator: Operator) -> list[Tensor]:
    """Return the operator's input that is a feature map, and its outputs."""
    first = input_tensor(graph, operator, FEATURES.get(operator.kind, 0))
    return ([first] if first else []) + [graph.tensors[number] for number in operator.outputs]


def unquantised(tensor: Tensor) -> str | None:
    """Say what keeps a tensor from being bytes with one scale, or return None."""
    if tensor.dtype not in _BYTES:
        return f"tensor {tensor.index} is {tensor.dtype.value}"
    if tensor.quantisation is None or tensor.quantisation.scale <= 0:
        return f"tensor {tensor.index} has no scale"
    if tensor.quantisation.is_per_channel:
        return f"tensor {tensor.index} has {tensor.quantisation}"
    if tensor.quantisation.scale < SMALLEST_SCALE:
        return f"tensor {tensor.index} has the scale {tensor.quantisation.scale:.3g}"
    return None


def eight_bits(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Activations have 8 bits: what the chip does with INT16 nobody has shown."""
    wide = [tensor for tensor in features(graph, operator) if tensor.dtype is DType.INT16]
    return f"tensor {wide[0].index} is int16" if wide else None


def static_shapes(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """All shapes are known when the model is compiled."""
    for tensor in features(graph, operator):
        if tensor.is_dynamic:
            return f"tensor {tensor.index} has a dimension that is not"
    return None


def variable_input(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """The input is computed or given, not constant."""
    first = input_tensor(graph, operator, FEATURES.get(operator.kind, 0))
    return "it is constant" if first is None or first.is_constant else None


def byte_features(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Input and output are INT8 or UINT8, both of the same, with one scale and zero point."""
    found = features(graph, operator)
    for tensor in found:
        failed = unquantised(tensor)
        if failed:
            return failed
    if len({tensor.dtype for tensor in found}) > 1:
        return " and ".join(tensor.dtype.value for tensor in found)
    return None


def any_byte_features(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Input and output are INT8 or UINT8 with one scale and zero point."""
    return next((failed for tensor in features(graph, operator) if (failed := unquantised(tensor))), None)


def feature_maps(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Input and output are maps of batch 1, of at most 2047 rows and columns and 8192 channels."""
    for tensor in features(graph, operator):
        shape = map_shape(tensor)
        if shape is None or max(shape[:2]) > soc.max_size or shape[2] > soc.max_cube:
            return f"tensor {tensor.index} has shape {tensor.shape}"
    return None


def in_reference_range(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """No value leaves 32 bits in LiteRT's reference kernel, which shifts to the left before it multiplies by a factor
    of 1 or more: what wraps around there is saturated here.
    """
    return out_of_range(graph, operator)


def equal_scales(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Inputs and output have the same scale and zero point."""
    output = graph.tensors[operator.outputs[0]]
    for number in operator.inputs:
        quantisation = graph.tensors[number].quantisation if number is not None else None
        if quantisation is not None and not quantisation.same_as(output.quantisation):
            return f"{quantisation} and {output.quantisation}"
    return None


def clamping_activation(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """A fused activation is none, RELU, RELU6 or RELU_N1_TO_1."""
    activation = getattr(operator.attributes, "activation", Activation.NONE)
    return activation.value if activation not in _CLAMPS else None


COMMON: tuple[Rule, ...] = (static_shapes, eight_bits, variable_input, byte_features, feature_maps)
"""Rules of every operator that computes on bytes of one type."""
