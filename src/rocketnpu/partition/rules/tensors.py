"""Rules about an operator's tensors: types, scales, shapes."""

from __future__ import annotations

from collections.abc import Mapping

from rocketnpu.arithmetic.reference_range import out_of_range
from rocketnpu.graph import Activation, DType, Graph, Operator, Tensor

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


def eight_bits(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Activations have 8 bits: what the chip does with INT16 nobody has shown."""
    wide = [tensor for tensor in features(graph, operator) if tensor.dtype is DType.INT16]
    return f"tensor {wide[0].index} is int16" if wide else None


def static_tensors(graph: Graph, operator: Operator, soc: object) -> str | None:
    """All shapes are known when the model is compiled, and no tensor is the state of an operator of the host."""
    # What writes a state is no operator whose output it is: nothing says when a part that reads it may run.
    for number in (*operator.inputs, *operator.outputs):
        if number is not None and graph.tensors[number].is_dynamic:
            return f"tensor {number} has a dimension that is not"
        if number is not None and graph.tensors[number].is_variable:
            return f"tensor {number} is an operator's state"
    return None


def variable_input(graph: Graph, operator: Operator, soc: object) -> str | None:
    """The input is computed or given, not constant."""
    first = input_tensor(graph, operator, FEATURES.get(operator.kind, 0))
    return "it is constant" if first is None or first.is_constant else None


def byte_features(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Input and output are INT8 or UINT8, both of the same, with one scale and zero point."""
    found = features(graph, operator)
    for tensor in found:
        failed = unquantised(tensor)
        if failed:
            return failed
    if len({tensor.dtype for tensor in found}) > 1:
        return " and ".join(tensor.dtype.value for tensor in found)
    return None


def any_byte_features(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Input and output are INT8 or UINT8 with one scale and zero point."""
    return next((failed for tensor in features(graph, operator) if (failed := unquantised(tensor))), None)


def in_reference_range(graph: Graph, operator: Operator, soc: object) -> str | None:
    """No value leaves 32 bits in LiteRT's reference kernel, which shifts to the left before it multiplies by a factor
    of 1 or more: what wraps around there is saturated here.
    """
    return out_of_range(graph, operator)


def equal_scales(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Inputs and output have the same scale and zero point."""
    output = graph.tensors[operator.outputs[0]]
    for number in operator.inputs:
        quantisation = graph.tensors[number].quantisation if number is not None else None
        if quantisation is not None and not quantisation.same_as(output.quantisation):
            return f"{quantisation} and {output.quantisation}"
    return None


def clamping_activation(graph: Graph, operator: Operator, soc: object) -> str | None:
    """A fused activation is none, RELU, RELU6 or RELU_N1_TO_1."""
    activation = getattr(operator.attributes, "activation", Activation.NONE)
    return activation.value if activation not in _CLAMPS else None


def byte_operands(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Both operands and the output are INT8 or UINT8, all of the same, with one scale and zero point."""
    tensors = [input_tensor(graph, operator, position) for position in (0, 1)]
    found = [tensor for tensor in tensors if tensor is not None] + [graph.tensors[operator.outputs[0]]]
    for tensor in found:
        failed = unquantised(tensor)
        if failed:
            return failed
    types = {tensor.dtype.value for tensor in found}
    return " and ".join(sorted(types)) if len(types) > 1 else None


LOGISTIC_SCALE = 1 / 256


def equal_shapes(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Input and output have the same shape."""
    source, target = features(graph, operator)
    return None if source.shape == target.shape else f"{source.shape} and {target.shape}"


def signed_features(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Input and output are INT8: LiteRT has no kernel of this operator for UINT8."""
    found = features(graph, operator)[0].dtype
    return None if found is DType.INT8 else found.value


def whole_range(graph: Graph, operator: Operator, soc: object) -> str | None:
    """The output has a scale of 1/256 and the lowest zero point: LiteRT's kernel takes no other."""
    target = features(graph, operator)[1]
    assert target.quantisation is not None
    lowest = {DType.INT8: -128, DType.UINT8: 0}[target.dtype]
    fits = target.quantisation.scale == LOGISTIC_SCALE and target.quantisation.zero_point == lowest
    return None if fits else str(target.quantisation)


def same_scale(graph: Graph, operator: Operator, soc: object) -> str | None:
    """Input and outputs have the same scale and zero point."""
    source, *targets = features(graph, operator)
    assert source.quantisation is not None
    for tensor in targets:
        if not source.quantisation.same_as(tensor.quantisation):
            return f"{source.quantisation} and {tensor.quantisation}"
    return None
