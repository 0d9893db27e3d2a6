"""Our graph: tensors, operators, quantisation."""

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Activation, Operator, Padding
from rocketnpu.graph.quantisation import Quantisation
from rocketnpu.graph.tensors import DType, Tensor

__all__ = ["Activation", "DType", "Graph", "Operator", "Padding", "Quantisation", "Tensor"]
