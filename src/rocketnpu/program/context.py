"""What lowering asks of a graph, whatever the chip."""

from __future__ import annotations

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Graph, Operator, Tensor


class GraphContext:
    """What each family's context of a compilation has of its graph."""

    graph: Graph

    def tensor(self, operator: Operator, position: int) -> Tensor:
        """Return an operator's input tensor.

        Raises:
            UnsupportedError: it is absent.
        """
        number = operator.input(position)
        if number is None:
            raise UnsupportedError(f"operator {operator.index} ({operator.kind}) lacks input {position}")
        return self.graph.tensors[number]

    def output(self, operator: Operator) -> Tensor:
        """Return an operator's only output tensor."""
        return self.graph.tensors[operator.outputs[0]]
