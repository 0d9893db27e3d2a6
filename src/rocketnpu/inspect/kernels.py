"""LiteRT's kernels, operator by operator: the reference ones, and the default ones where a version has no reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.graph import Graph, Operator
from rocketnpu.inspect.reference import run_model
from rocketnpu.model import tflite
from rocketnpu.model.cut import CutModel
from rocketnpu.model.rebuild import rebuild

Array = npt.NDArray[Any]


class Kernels:
    """Runs single operators of a model. Not thread safe."""

    def __init__(self, data: bytes | None = None) -> None:
        """Cut operators out of ``data``, a TFLite file; without it they are written anew, as far as that is known."""
        self._cut: CutModel | None = None
        if data is not None:
            try:
                self._cut = CutModel(data)
            except ModelError:
                self._cut = None
        self.substituted: dict[int, str] = {}
        """Kinds, by operator, of what LiteRT's default kernels ran: there is no reference kernel of their version."""

    def run(self, graph: Graph, operator: Operator, values: Mapping[int, Array]) -> tuple[Array, ...]:
        """Run one operator on given values of its inputs and return its outputs.

        Raises:
            UnsupportedError: the operator cannot be cut out, or LiteRT has no kernel for it or is not installed.
            ModelError: LiteRT refuses the operator.
        """
        if self._cut is not None:
            data, inputs = self._cut.operator(graph, operator)
        else:
            data, inputs = rebuild(graph, [operator], operator.outputs)
        parsed, given = tflite.parse(data), [values[number] for number in inputs]
        try:
            tensors = run_model(data, parsed, given)
        except UnsupportedError:
            tensors = run_model(data, parsed, given, reference=False)
            self.substituted[operator.index] = operator.kind
        return tuple(tensors[number] for number in parsed.outputs)

    def run_all(self, graph: Graph, inputs: Sequence[Array]) -> dict[int, Array]:
        """Run a whole graph operator by operator and return every tensor.

        Raises:
            UnsupportedError: as :meth:`run`.
            ModelError: as :meth:`run`.
        """
        values = dict(zip(graph.inputs, inputs, strict=True))
        values |= {number: tensor.data for number, tensor in graph.tensors.items() if tensor.data is not None}
        for operator in graph.operators:
            values.update(zip(operator.outputs, self.run(graph, operator, values), strict=True))
        return values
