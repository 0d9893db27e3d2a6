"""A step: nodes of a model that are one operator on integers; what it reads, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from rocketnpu.graph import DType, Quantisation

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]


class NotTakenError(Exception):
    """A node has no counterpart among the graph's operators; the text says why. Caught by the reader."""


@dataclass(frozen=True, eq=False)
class Source:
    """What an operator reads: a quantised value, or a constant."""

    name: str
    quantisation: Quantisation | None
    data: Array | None
    """Of a constant: integers where there is a quantisation, else what the file holds."""


@dataclass(frozen=True, eq=False)
class Target:
    """What an operator writes: a quantised value."""

    name: str
    quantisation: Quantisation
    dtype: DType


@dataclass(frozen=True, eq=False)
class Step:
    """Nodes that are one operator on integers."""

    node: onnx.NodeProto
    """The one that computes; the last of a chain."""
    kind: str
    """Its operator, or ``Chain``."""
    sources: tuple[Source | None, ...]
    targets: tuple[Target, ...]
    clamp: tuple[float, float] | None
    """Bounds that follow, in real numbers."""
    nodes: tuple[int, ...]
    """Numbers of all nodes that it stands for, ascending; DequantizeLinear that others read too is not among them."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    chain: tuple[onnx.NodeProto, ...] = ()
    views: tuple[onnx.NodeProto, ...] = ()
    """What stands between the operator and QuantizeLinear and only moves values, in order."""

    def source(self, position: int) -> Source:
        """Return an input that must be there.

        Raises:
            NotTakenError: it is not.
        """
        found = self.sources[position] if position < len(self.sources) else None
        if found is None:
            raise NotTakenError(f"input {position} is missing")
        return found

    def constant(self, position: int) -> Array | None:
        """Return a constant parameter, such as axes, or None where there is none.

        Raises:
            NotTakenError: it is computed.
        """
        found = self.sources[position] if position < len(self.sources) else None
        if found is None:
            return None
        if found.data is None or found.quantisation is not None:
            raise NotTakenError(f"input {position} is computed")
        return found.data


def spread(quantisation: Quantisation, rank: int) -> tuple[Array, Array]:
    """Return scales and zero points in a shape that broadcasts over a constant of so many dimensions."""
    if not quantisation.is_per_channel:
        return quantisation.scales.reshape(()), quantisation.zero_points.reshape(())
    shape = [1] * rank
    if not 0 <= quantisation.axis < rank:
        raise NotTakenError(f"scales along axis {quantisation.axis} of {rank}")
    shape[quantisation.axis] = -1
    return quantisation.scales.reshape(shape), quantisation.zero_points.reshape(shape)
