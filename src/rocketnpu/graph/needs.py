"""What shape rules ask of an operator's tensors."""

from __future__ import annotations

from collections.abc import Sequence

from rocketnpu.errors import ModelError
from rocketnpu.graph.tensors import DType, Tensor

Shape = tuple[int, ...]
Tensors = Sequence[Tensor | None]


def need(condition: bool, message: str) -> None:
    """Refuse what does not hold.

    Raises:
        ModelError: ``condition`` is false.
    """
    if not condition:
        raise ModelError(message)


def shape_of(tensors: Tensors, position: int, rank: int | None = None) -> Shape:
    """Return the shape of an input, which must be there, and of ``rank`` dimensions where that is given."""
    tensor = tensors[position] if position < len(tensors) else None
    if tensor is None:
        raise ModelError(f"input {position} is missing")
    if rank is not None:
        need(len(tensor.shape) == rank, f"input {position} has shape {tensor.shape}, not {rank} dimensions")
    return tensor.shape


def values_of(tensors: Tensors, position: int) -> list[int] | None:
    """Return a constant integer input as a list, or None where it is computed or absent."""
    tensor = tensors[position] if position < len(tensors) else None
    if tensor is None or tensor.data is None:
        return None
    need(tensor.dtype in {DType.INT32, DType.INT64}, f"input {position} is {tensor.dtype.value}, not whole numbers")
    return [int(value) for value in tensor.data.reshape(-1)]


def axis_of(axis: int, rank: int) -> int:
    """Return an axis that may be negative as one that is not."""
    need(-rank <= axis < rank, f"axis {axis} is outside {rank} dimensions")
    return axis % rank
