"""Convolutions whose kernels hold a single 1: exact copies of values to other places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Attributes, Operator
from rocketnpu.graph.passes.rewrite import Accepts, fresh_index, fresh_tensor, rewrite
from rocketnpu.graph.quantisation import Quantisation
from rocketnpu.graph.tensors import DType, Tensor

MOST_WEIGHTS = 1 << 21
"""Bytes of weights up to which a selection is written as a dense convolution; beyond it would not pay."""


@dataclass(frozen=True, eq=False)
class Selection:
    """A convolution that selects: its kind and attributes, and where its kernels hold ones."""

    kind: str
    attributes: Attributes
    ones: npt.NDArray[np.bool_]
    """Of the weights' shape."""


class Making:
    """New operators and tensors that are to stand in a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self._number, self._index = fresh_tensor(graph), fresh_index(graph)

    def add(self, tensor: Tensor) -> int:
        """Add a tensor and return the number that it gets."""
        number = self._number + len(self.tensors)
        self.tensors.append(replace(tensor, index=number, is_dynamic=False, signature=None))
        return number

    def like(self, tensor: Tensor, shape: Sequence[int]) -> int:
        """Add a computed tensor of another shape."""
        return self.add(replace(tensor, shape=tuple(shape), data=None, name=f"{tensor.name} as {tuple(shape)}"))

    def integers(self, values: object, name: str = "shape") -> int:
        """Add a constant of whole numbers."""
        data = np.asarray(values, np.int32)
        return self.add(Tensor(0, name, data.shape, DType.INT32, data=data))

    def reals(self, data: npt.NDArray[np.generic], scale: float, dtype: DType, name: str) -> int:
        """Add a quantised constant with zero point 0."""
        return self.add(Tensor(0, name, data.shape, dtype, Quantisation.per_tensor(scale, 0), data))

    def operator(
        self,
        kind: str,
        inputs: Sequence[int | None],
        outputs: Sequence[int],
        attributes: Attributes,
        index: int | None = None,
    ) -> None:
        """Add an operator, with the index of the one that it replaces or a fresh one."""
        number = self._index + len(self.operators) if index is None else index
        self.operators.append(Operator(number, kind, tuple(inputs), tuple(outputs), attributes))

    def select(self, source: Tensor, target: int, selection: Selection, index: int | None = None) -> None:
        """Add a convolution that selects values of ``source``."""
        step = source.quantisation.scale if source.quantisation is not None else 1.0
        weights = self.reals(selection.ones.astype(np.int8).view(source.dtype.value), 1.0, source.dtype, "selection")
        outputs = selection.ones.shape[-1 if selection.kind == "DEPTHWISE_CONV_2D" else 0]
        bias = self.reals(np.zeros(outputs, np.int32), step, DType.INT32, "no bias")
        self.operator(selection.kind, (source.index, weights, bias), (target,), selection.attributes, index)

    def instead(self, old: Sequence[Operator], accepts: Accepts) -> Graph:
        """Put the new operators in the place of the last of some old ones, if each of them is accepted."""
        changes: dict[int, Sequence[Operator]] = {operator.index: () for operator in old[:-1]}
        changes[old[-1].index] = self.operators
        candidate = rewrite(self.graph, changes, self.tensors)
        return candidate if all(accepts(candidate, operator) for operator in self.operators) else self.graph


def is_map(tensor: Tensor) -> bool:
    """Say whether a tensor is a computed map of bytes of one image, with one scale."""
    quantisation = tensor.quantisation
    return (
        len(tensor.shape) == 4
        and tensor.shape[0] == 1
        and 0 not in tensor.shape
        and not tensor.is_dynamic
        and not tensor.is_constant
        and tensor.dtype in (DType.INT8, DType.UINT8)
        and quantisation is not None
        and not quantisation.is_per_channel
    )
