"""A model as a program without an NPU runs it: on LiteRT's built-in kernels, or by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import InputError
from rocketnpu.graph import Graph
from rocketnpu.litert import first_line, open_interpreter
from rocketnpu.model.files import is_onnx

Array = npt.NDArray[Any]


class Reference:
    """One thread's own: not to be used by two at a time."""

    def __init__(self, path: Path, graph: Graph) -> None:
        """Read the model.

        Raises:
            ModelError: the framework refuses it.
            UnsupportedError: the framework is not installed.
        """
        self._graph = graph
        self._run = _onnx(path) if is_onnx(path) else self._litert(path)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run one inference; arrays are in the order of the graph's inputs and outputs.

        Raises:
            InputError: an input does not fit, or the framework fails.
        """
        found: list[Array] = self._run(inputs)
        return found

    def _litert(self, path: Path) -> Any:
        interpreter = open_interpreter(path)

        def run(inputs: Sequence[Array]) -> list[Array]:
            try:
                for number, values in zip(self._graph.inputs, inputs, strict=True):
                    interpreter.set_tensor(number, np.asarray(values, order="C"))
                interpreter.invoke()
            except (ValueError, RuntimeError) as error:
                raise InputError(f"LiteRT: {first_line(error)}") from None
            return [interpreter.get_tensor(number) for number in self._graph.outputs]

        return run


def _onnx(path: Path) -> Any:
    from rocketnpu.model import onnx
    from rocketnpu.onnx_host.runtime import run_session, session

    proto = onnx.load(path).proto
    made = session(proto, fused=True)
    constant = {tensor.name for tensor in proto.graph.initializer}
    names = [value.name for value in proto.graph.input if value.name not in constant]
    return lambda inputs: run_session(made, None, dict(zip(names, inputs, strict=True)))
