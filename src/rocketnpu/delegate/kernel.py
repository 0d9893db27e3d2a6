"""One part of a host's network, compiled and placed: what stands in the host's plan instead of its own operators."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rocketnpu.delegate import abi
from rocketnpu.delegate.abi import ffi
from rocketnpu.delegate.host_graph import Array, view
from rocketnpu.delegate.log import Log
from rocketnpu.device.base import Device
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.errors import ModelError
from rocketnpu.graph import Graph
from rocketnpu.program.program import Binding, Program


@dataclass(frozen=True)
class Workshop:
    """What kernels of one delegate share."""

    device: Device
    compile: Callable[[Graph], Program]
    """Compiles a part in a new shape; raises ModelError where its shapes disagree, UnsupportedError where the NPU does
    not take it."""
    log: Log
    lock: threading.RLock
    """Held while the device works or its memory changes hands: a program runs one inference at a time."""
    allow_unproven: bool = False
    """Whether an NPU may run programs that rely on unproven hardware rules."""


class Kernel:
    """Runs one part on the device.

    Inputs and outputs are views of the host's tensors; the only copies are those into and out of the NPU's layout.
    """

    def __init__(self, workshop: Workshop, graph: Graph, program: Program) -> None:
        """Place ``program``, which was compiled from ``graph``.

        Raises:
            DeviceError: the device has no room.
        """
        self.graph = graph
        self._workshop = workshop
        self._placed: PlacedProgram | None = None
        self._place(program)

    def prepare(self, context: Any) -> None:
        """Follow the host's tensor shapes; where an input was resized, compile the part anew.

        Raises:
            UnsupportedError: the part cannot run in its new shape.
            ModelError: the host did not send the new shape through the part.
            DeviceError: the device has no room.
        """
        resized = [n for n in self.graph.inputs if _shape(context, n) != self.graph.tensors[n].shape]
        if resized:
            graph = self._resized(context)
            shapes = ", ".join(f"tensor {n} to {graph.tensors[n].shape}" for n in resized)
            self._workshop.log.detail(f"input resized: {shapes}")
            program = self._workshop.compile(graph)
            self._place(program)
            self.graph = graph
        for number in self.graph.outputs:
            _fit_output(context, number, self.graph.tensors[number].shape)

    def invoke(self, context: Any) -> None:
        """Run one inference on the host's tensors.

        Raises:
            DeviceError: the device failed; the next run may work again.
            ModelError: the host gives a tensor no memory.
        """
        start = time.perf_counter()
        with self._workshop.lock:
            placed = self._placed
            if placed is None:
                raise ModelError(f"{self.graph.name} was closed; the delegate must outlive its interpreters")
            inputs = [_memory(context, binding) for binding in placed.program.inputs]
            placed.run(inputs, [_memory(context, binding) for binding in placed.program.outputs])
        if self._workshop.log.verbose:
            self._workshop.log.detail(f"invoked graph, took {(time.perf_counter() - start) * 1e3:.1f} ms")

    def close(self) -> None:
        """Free the device's memory. Closing twice is allowed."""
        with self._workshop.lock:
            if self._placed is not None:
                self._placed.close()
            self._placed = None

    def _place(self, program: Program) -> None:
        with self._workshop.lock:
            self.close()
            self._placed = PlacedProgram(self._workshop.device, program, allow_unproven=self._workshop.allow_unproven)

    def _resized(self, context: Any) -> Graph:
        """Take over the shapes of the host, which has sent the new ones through the replaced operators."""
        tensors = {
            number: tensor if tensor.is_constant else replace(tensor, shape=_shape(context, number))
            for number, tensor in self.graph.tensors.items()
        }
        return replace(self.graph, tensors=tensors)


def _shape(context: Any, number: int) -> tuple[int, ...]:
    return abi.integers(context.tensors[number].dims)


def _fit_output(context: Any, number: int, shape: tuple[int, ...]) -> None:
    if _shape(context, number) == shape:
        return
    tensor = ffi.addressof(context.tensors[number])
    if context.resize_copy(context, tensor, len(shape), list(shape)) != abi.OK:
        raise ModelError(f"the host refuses to give output tensor {number} the shape {shape}")


def _memory(context: Any, binding: Binding) -> Array:
    tensor = context.tensors[binding.tensor]
    if tensor.data == ffi.NULL:
        raise ModelError(f"the host gives tensor {binding.tensor} ({binding.name}) no memory")
    return view(tensor, binding.shape, binding.dtype)
