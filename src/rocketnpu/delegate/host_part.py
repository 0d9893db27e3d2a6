"""A part at sizes that the NPU does not take: LiteRT's own kernels run it, as they would without the delegate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import DeviceError, ModelError
from rocketnpu.graph import Graph
from rocketnpu.litert import require_litert
from rocketnpu.model.rebuild import rebuild

Array = npt.NDArray[Any]


class HostPart:
    """A part on the CPU. Not thread safe."""

    def __init__(self, graph: Graph) -> None:
        """Hand a part to LiteRT; ``graph`` has the shapes of its inputs.

        Raises:
            ModelError: LiteRT refuses the part at these shapes.
            UnsupportedError: LiteRT is not installed.
        """
        data, self._inputs = rebuild(graph, graph.operators, graph.outputs)
        litert = require_litert()
        try:
            self._interpreter = litert.Interpreter(
                model_content=data,
                num_threads=1,
                experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"LiteRT refuses {graph.name} at these sizes: {error}") from None
        self._places = [found["index"] for found in self._interpreter.get_input_details()]
        made = {
            number: replace(graph.tensors[number], shape=tuple(int(n) for n in found["shape"]), is_dynamic=False)
            for number, found in zip(graph.outputs, self._interpreter.get_output_details(), strict=True)
        }
        self.graph = replace(graph, tensors={**graph.tensors, **made})
        """The part with the shapes that its outputs have."""

    def run(self, memory: Callable[[int], Array]) -> None:
        """Run one inference; ``memory`` returns the host's memory of a tensor of the graph.

        Raises:
            DeviceError: LiteRT fails.
        """
        for number, place in zip(self._inputs, self._places, strict=True):
            self._interpreter.set_tensor(place, np.asarray(memory(number), order="C"))
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise DeviceError(f"{self.graph.name} fails on the CPU: {error}") from None
        for number, found in zip(self.graph.outputs, self._interpreter.get_output_details(), strict=True):
            memory(number)[...] = self._interpreter.get_tensor(found["index"])
