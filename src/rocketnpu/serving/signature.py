"""What a model takes and gives, in the words of the Open Inference Protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import DType, Graph, Tensor

Array = npt.NDArray[Any]
DATATYPES = {
    DType.BOOL: "BOOL",
    DType.UINT8: "UINT8",
    DType.UINT16: "UINT16",
    DType.UINT32: "UINT32",
    DType.UINT64: "UINT64",
    DType.INT8: "INT8",
    DType.INT16: "INT16",
    DType.INT32: "INT32",
    DType.INT64: "INT64",
    DType.FLOAT16: "FP16",
    DType.FLOAT32: "FP32",
    DType.FLOAT64: "FP64",
}
"""The protocol's names of element types. Its BYTES has no tensor here."""
OPEN = -1
"""A dimension of any size."""


@dataclass(frozen=True)
class Port:
    """One input or output of a model."""

    name: str
    datatype: str
    dtype: np.dtype[Any]
    """Little-endian, as the protocol sends it."""
    shape: tuple[int, ...]
    """For one inference."""
    scale: float | None
    zero_point: int | None

    @property
    def elements(self) -> int:
        """How many elements one inference has of it."""
        return math.prod(self.shape)

    def metadata(self, *, batched: bool) -> dict[str, Any]:
        """Describe it; scale and zero point are parameters, where the tensor is quantised as a whole."""
        shape = (OPEN, *self.shape[1:]) if batched else self.shape
        found: dict[str, Any] = {"name": self.name, "datatype": self.datatype, "shape": list(shape)}
        if self.scale is not None:
            found["parameters"] = {"scale": self.scale, "zero_point": self.zero_point}
        return found


@dataclass(frozen=True)
class Signature:
    """All inputs and outputs."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def batched(self) -> bool:
        """Whether several inferences may come as one, along the first axis."""
        return all(port.shape[:1] == (1,) for port in (*self.inputs, *self.outputs))


def signature_of(graph: Graph, outputs: Sequence[Array]) -> Signature:
    """Describe a model.

    Args:
        graph: the model.
        outputs: of one inference: some files do not say their outputs' shapes.

    Raises:
        UnsupportedError: a tensor has a type that the protocol, or this package, does not have.
    """
    given = [graph.tensors[number] for number in graph.inputs]
    made = [graph.tensors[number] for number in graph.outputs]
    return Signature(
        tuple(_port(tensor, name, tensor.shape) for tensor, name in zip(given, _names(given, "input"), strict=True)),
        tuple(
            _port(tensor, name, values.shape)
            for tensor, name, values in zip(made, _names(made, "output"), outputs, strict=True)
        ),
    )


def _names(tensors: Sequence[Tensor], what: str) -> list[str]:
    """Return names that tell tensors apart: those of the file if they do."""
    names = [tensor.name for tensor in tensors]
    if all(names) and len(set(names)) == len(names):
        return names
    return [f"{what}{position}" for position in range(len(names))]


def _port(tensor: Tensor, name: str, shape: Sequence[int]) -> Port:
    if tensor.dtype not in DATATYPES:
        raise UnsupportedError(f"tensor {tensor.name!r} has a type that cannot be served")
    quantised = tensor.quantisation if tensor.quantisation and not tensor.quantisation.is_per_channel else None
    return Port(
        name,
        DATATYPES[tensor.dtype],
        np.dtype(tensor.dtype.value).newbyteorder("<"),
        tuple(map(int, shape)),
        float(quantised.scale) if quantised else None,
        int(quantised.zero_point) if quantised else None,
    )
