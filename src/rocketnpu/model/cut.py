"""One operator cut out of a TFLite file: its own bytes of options, whatever they are, in a model of its own."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from rocketnpu.errors import ModelError
from rocketnpu.graph import Graph, Operator
from rocketnpu.model.builder import pack
from rocketnpu.third_party import tflite_schema as schema


class CutModel:
    """A file that was read (and so checked) before, ready to be cut."""

    def __init__(self, data: bytes) -> None:
        """Unpack a file; ``data`` outlives this object.

        Raises:
            ModelError: it keeps buffers apart from the flatbuffer, which cannot be cut.
        """
        self._model = schema.ModelT.InitFromPackedBuf(data, 0)
        if any(buffer.offset > 1 for buffer in self._model.buffers):
            raise ModelError("its buffers lie behind the flatbuffer, so no operator can be cut out")

    def operator(self, graph: Graph, operator: Operator) -> tuple[bytes, tuple[int, ...]]:
        """Write one operator of the first subgraph as a model.

        Args:
            graph: the file's graph, with the shapes that tensors have.
            operator: one of the file's.

        Returns:
            The model, and the tensors that are its inputs: those that are not constant, each once, in order of first
            use. Its outputs are the operator's.
        """
        main = self._model.subgraphs[0]
        cut = copy.copy(main.operators[operator.index])
        numbers = list(dict.fromkeys(n for n in (*operator.inputs, *operator.outputs) if n is not None))
        places = {number: place for place, number in enumerate(numbers)}
        model, subgraph = schema.ModelT(), schema.SubGraphT()
        model.version, model.buffers = self._model.version, [schema.BufferT()]
        subgraph.tensors = [self._tensor(graph, number, model.buffers) for number in numbers]
        cut.inputs = np.array([-1 if n is None else places[n] for n in operator.inputs], np.int32)
        cut.outputs = np.array([places[n] for n in operator.outputs], np.int32)
        model.operatorCodes, cut.opcodeIndex = [self._model.operatorCodes[cut.opcodeIndex]], 0
        read = dict.fromkeys(n for n in operator.inputs if n is not None)
        inputs = tuple(n for n in read if not graph.tensors[n].is_constant)
        subgraph.operators = [cut]
        subgraph.inputs = np.array([places[n] for n in inputs], np.int32)
        subgraph.outputs = cut.outputs
        model.subgraphs = [subgraph]
        return pack(model), inputs

    def _tensor(self, graph: Graph, number: int, buffers: list[Any]) -> Any:
        table = copy.copy(self._model.subgraphs[0].tensors[number])
        table.shape, table.shapeSignature = np.array(graph.tensors[number].shape, np.int32), None
        buffer = self._model.buffers[table.buffer]
        table.buffer = 0
        if graph.tensors[number].is_constant:
            table.buffer = len(buffers)
            buffers.append(buffer)
        return table
