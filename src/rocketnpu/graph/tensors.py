"""Tensors of the graph: a shape, an element type, a quantisation, and data where the tensor is constant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from rocketnpu.graph.quantisation import Quantisation


class DType(Enum):
    """Element types by TFLite's names. Those without a NumPy twin are carried by name only."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    BOOL = "bool"
    OTHER = "other"

    @property
    def bytes(self) -> int | None:
        """Bytes of one element, or None for ``OTHER``."""
        return None if self is DType.OTHER else np.dtype(self.value).itemsize


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor. ``index`` is its number in the model; ``data`` has ``shape`` and is read-only."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: DType
    quantisation: Quantisation | None = None
    data: npt.NDArray[np.generic] | None = None
    is_dynamic: bool = False
    """Whether a host knows the shape only at run time. (A file's shape holds until somebody resizes an input.)"""
    is_variable: bool = False
    signature: tuple[int, ...] | None = None
    """The shape as its author left it: -1 where a dimension was open, and ``shape`` has a placeholder. None where all
    are fixed."""

    @property
    def placeholders(self) -> tuple[int, ...]:
        """Axes whose size is a placeholder."""
        return tuple(axis for axis, size in enumerate(self.signature or ()) if size == -1)

    @property
    def is_constant(self) -> bool:
        """Whether the model holds the tensor's values."""
        return self.data is not None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        quantisation = f" {self.quantisation}" if self.quantisation else ""
        return f"t{self.index} {self.dtype.value} {shape}{quantisation}{' constant' if self.is_constant else ''}"
