"""What operators make of values that are known: NumPy arrays, with TFLite's meanings.

Converters write the shape of a tensor as a chain of such operators wherever the batch was not fixed: SHAPE,
STRIDED_SLICE, PACK. Once shapes are known, so are these values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from rocketnpu.graph import operators as ops
from rocketnpu.graph.operators import Activation, Operator
from rocketnpu.graph.tensors import DType, Tensor

Array = npt.NDArray[Any]
MAX_ELEMENTS = 1 << 20
"""Elements of a result up to which it is kept as a constant: shapes and grids, not pictures."""
Inputs = Sequence[Array]
Rule = Callable[[Operator, Inputs, Tensor], "Array | Sequence[Array] | None"]


def known_values(operator: Operator, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> list[Array] | None:
    """Return the values of an operator's outputs, or None where they cannot be known before it runs.

    ``inputs`` hold data where it is known; their shapes are the real ones.
    """
    if not outputs or any(tensor.dtype is DType.OTHER for tensor in outputs):
        return None
    present = [tensor for tensor in inputs if tensor is not None]
    if operator.kind in ("SHAPE", "RANK") and present and not present[0].is_dynamic:
        shape = present[0].shape
        found: Array | Sequence[Array] | None = np.array(shape if operator.kind == "SHAPE" else len(shape))
    else:
        found = _computed(operator, present, outputs)
    if found is None:
        return None
    arrays = [found] if isinstance(found, np.ndarray) else list(found)
    if len(arrays) != len(outputs) or any(array.size > MAX_ELEMENTS for array in arrays):
        return None
    kinds = (np.dtype(tensor.dtype.value) for tensor in outputs)
    return [np.array(array, kind, order="C") for array, kind in zip(arrays, kinds, strict=True)]


def _computed(
    operator: Operator, present: Sequence[Tensor], outputs: Sequence[Tensor]
) -> Array | Sequence[Array] | None:
    """Apply an operator's rule, if it has one and all its inputs are known."""
    rule, data = _RULES.get(operator.kind), [tensor.data for tensor in present if tensor.data is not None]
    if rule is None or not data or len(data) != len(present):
        return None
    quantised = any(tensor.quantisation is not None for tensor in (*present, *outputs))
    if quantised and operator.kind not in _MOVING:
        return None
    try:
        with np.errstate(all="ignore"):
            return rule(operator, data, outputs[0])
    except (ValueError, IndexError, TypeError, OverflowError):
        return None  # contradictory: whoever runs the operator says so


def strided_ranges(
    attributes: ops.StridedSlice, shape: Sequence[int], limits: Sequence[Sequence[int]]
) -> list[slice | int | None]:
    """Return what STRIDED_SLICE takes of each dimension: a range, or one index of a dimension that goes.

    None stands for a dimension of 1 that is new.

    Args:
        attributes: the masks.
        shape: that of the input.
        limits: begin, end and steps.

    Raises:
        ValueError: there are more of them than dimensions, or they are of different lengths.
    """
    found: list[slice | int | None] = []
    entries = list(zip(*limits, strict=True))
    used = sum(1 for n in range(len(entries)) if not (attributes.new_axis_mask | attributes.ellipsis_mask) >> n & 1)
    if used > len(shape):
        raise ValueError(f"{used} ranges for {len(shape)} dimensions")
    for number, (low, high, step) in enumerate(entries):
        if attributes.ellipsis_mask >> number & 1:
            found += [slice(None)] * (len(shape) - used)
        elif attributes.new_axis_mask >> number & 1:
            found.append(None)
        elif attributes.shrink_axis_mask >> number & 1:
            found.append(int(low))
        else:
            first = None if attributes.begin_mask >> number & 1 else int(low)
            last = None if attributes.end_mask >> number & 1 else int(high) + (int(low) if attributes.offset else 0)
            found.append(slice(first, last, int(step)))
    taken = sum(1 for entry in found if entry is not None)
    return found + [slice(None)] * (len(shape) - taken)


def _strided_slice(operator: Operator, inputs: Inputs, _: Tensor) -> Array:
    source, *limits = inputs
    attributes = cast(ops.StridedSlice, operator.attributes)
    ranges = strided_ranges(attributes, source.shape, [limit.reshape(-1).tolist() for limit in limits])
    return np.asarray(source[tuple(ranges)])


def _slice(_: Operator, inputs: Inputs, __: Tensor) -> Array:
    source, begin, size = inputs
    ends = [n if s == -1 else b + s for n, b, s in zip(source.shape, begin.tolist(), size.tolist(), strict=True)]
    return np.asarray(source[tuple(slice(b, e) for b, e in zip(begin.tolist(), ends, strict=True))])


def _gather(operator: Operator, inputs: Inputs, _: Tensor) -> Array | None:
    attributes = cast(ops.Gather, operator.attributes)
    if attributes.batch_dims:
        return None
    return np.asarray(np.take(inputs[0], inputs[1].astype(np.int64), axis=attributes.axis))


def _reshape(_: Operator, inputs: Inputs, target: Tensor) -> Array:
    wanted = inputs[1].reshape(-1).tolist() if len(inputs) > 1 else target.shape
    return inputs[0].reshape([int(size) for size in wanted])


def _expand(_: Operator, inputs: Inputs, __: Tensor) -> Array:
    return np.expand_dims(inputs[0], int(inputs[1].reshape(-1)[0]))


def _squeeze(operator: Operator, inputs: Inputs, target: Tensor) -> Array:
    axes = operator.attributes.axes if isinstance(operator.attributes, ops.Squeeze) else ()
    return np.squeeze(inputs[0], axis=axes) if axes else inputs[0].reshape(target.shape)


def _concatenation(operator: Operator, inputs: Inputs, _: Tensor) -> Array | None:
    attributes = cast(ops.Concatenation, operator.attributes)
    return None if attributes.activation is not Activation.NONE else np.concatenate(inputs, axis=attributes.axis)


def _arithmetic(function: Callable[[Array, Array], Array]) -> Rule:
    def apply(operator: Operator, inputs: Inputs, _: Tensor) -> Array | None:
        if getattr(operator.attributes, "activation", Activation.NONE) is not Activation.NONE:
            return None
        return np.asarray(function(inputs[0], inputs[1]))

    return apply


def _divided(one: Array, other: Array) -> Array:
    """Divide; whole numbers towards zero, as C does."""
    if one.dtype.kind not in "iu":
        return np.asarray(one / other)
    if not other.all():
        raise ValueError("a division by zero")
    return np.asarray(np.sign(one) * np.sign(other) * (np.abs(one) // np.abs(other)))


def _floor_divided(one: Array, other: Array) -> Array:
    if one.dtype.kind in "iu" and not other.all():
        raise ValueError("a division by zero")
    return np.asarray(one // other)


def _reduced(function: Callable[..., Array]) -> Rule:
    def apply(operator: Operator, inputs: Inputs, _: Tensor) -> Array:
        axes = tuple(int(axis) for axis in inputs[1].reshape(-1))
        return np.asarray(function(inputs[0], axis=axes, keepdims=cast(ops.Reduce, operator.attributes).keep_dims))

    return apply


def _range(_: Operator, inputs: Inputs, __: Tensor) -> Array | None:
    start, limit, step = (value.reshape(-1)[0] for value in inputs)
    if step == 0 or abs((limit - start) / step) > MAX_ELEMENTS:
        return None
    return np.arange(start, limit, step)


def _fill(_: Operator, inputs: Inputs, __: Tensor) -> Array | None:
    shape = [int(size) for size in inputs[0].reshape(-1)]
    return None if np.prod(shape, dtype=object) > MAX_ELEMENTS else np.full(shape, inputs[1].reshape(-1)[0])


def _broadcast(_: Operator, inputs: Inputs, __: Tensor) -> Array | None:
    shape = [int(size) for size in inputs[1].reshape(-1)]
    return None if np.prod(shape, dtype=object) > MAX_ELEMENTS else np.broadcast_to(inputs[0], shape)


def _tile(_: Operator, inputs: Inputs, __: Tensor) -> Array | None:
    times = [int(count) for count in inputs[1].reshape(-1)]
    return None if np.prod(times, dtype=object) * inputs[0].size > MAX_ELEMENTS else np.tile(inputs[0], times)


_MOVING = {
    *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "STRIDED_SLICE", "SLICE", "GATHER", "PACK", "UNPACK", "TRANSPOSE", "SPLIT"),
    *("TILE", "BROADCAST_TO", "DENSIFY"),
}
"""Operators that move values and compute none, so that a quantisation does not matter."""
_RULES: Mapping[str, Rule] = {
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _slice,
    "GATHER": _gather,
    "PACK": lambda operator, inputs, _: np.stack(inputs, axis=cast(ops.Pack, operator.attributes).axis),
    "UNPACK": lambda operator, inputs, _: [
        np.asarray(part) for part in np.moveaxis(inputs[0], cast(ops.Pack, operator.attributes).axis, 0)
    ],
    "CAST": lambda _, inputs, target: inputs[0].astype(np.dtype(target.dtype.value)),
    "RESHAPE": _reshape,
    "EXPAND_DIMS": _expand,
    "SQUEEZE": _squeeze,
    "DENSIFY": lambda _, inputs, __: inputs[0],
    "TRANSPOSE": lambda _, inputs, __: np.transpose(inputs[0], [int(axis) for axis in inputs[1].reshape(-1)]),
    "CONCATENATION": _concatenation,
    "ADD": _arithmetic(np.add),
    "SUB": _arithmetic(np.subtract),
    "MUL": _arithmetic(np.multiply),
    "DIV": _arithmetic(_divided),
    "FLOOR_DIV": _arithmetic(_floor_divided),
    "MAXIMUM": _arithmetic(np.maximum),
    "MINIMUM": _arithmetic(np.minimum),
    "REDUCE_PROD": _reduced(np.prod),
    "SUM": _reduced(np.sum),
    "REDUCE_MAX": _reduced(np.max),
    "REDUCE_MIN": _reduced(np.min),
    "RANGE": _range,
    "FILL": _fill,
    "BROADCAST_TO": _broadcast,
    "BROADCAST_ARGS": lambda _, inputs, __: np.array(
        np.broadcast_shapes(*(tuple(int(n) for n in given.reshape(-1)) for given in inputs))
    ),
    "TILE": _tile,
    "ZEROS_LIKE": lambda _, inputs, __: np.zeros_like(inputs[0]),
}
FOLDED: frozenset[str] = frozenset({"SHAPE", "RANK", *_RULES})
"""Kinds of operators whose results can be known before anything runs."""
