"""One part of a host's network, compiled and placed: what stands in the host's plan instead of its own operators."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rocketnpu.compiler import constant_outputs, images_of
from rocketnpu.delegate import abi
from rocketnpu.delegate.abi import ffi
from rocketnpu.delegate.host_graph import Array, view
from rocketnpu.delegate.host_part import HostPart
from rocketnpu.delegate.log import Log, say
from rocketnpu.device.base import Device
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.one_at_a_time import OneAtATime
from rocketnpu.device.split import PlacedShared, PlacedSplit
from rocketnpu.errors import DeviceError, ModelError, UnsupportedError
from rocketnpu.estimate.estimate import Conditions
from rocketnpu.family import family_of
from rocketnpu.graph import Graph
from rocketnpu.graph.propagate import propagate
from rocketnpu.program.program import Program
from rocketnpu.program.split import SharedProgram, SplitProgram


@dataclass(frozen=True)
class Workshop:
    """What kernels of one delegate share."""

    device: Device
    compile: Callable[[Graph], Program | None]
    """Compiles a part in a new shape, to None where nothing is left to run; raises ModelError where its shapes
    disagree, UnsupportedError where the NPU does not take it."""
    log: Log
    allow_unproven: bool = False
    """Whether an NPU may run programs that rely on unproven hardware rules."""
    helpers: tuple[Device, ...] = ()
    """Other cores, for parts that are split over all of them."""
    split: Callable[[Graph, int], SplitProgram | SharedProgram | None] = lambda graph, cores: None
    """Compiles a part for so many cores, to None where that does not pay; to one program where they share memory."""

    def place(self, graph: Graph, program: Program) -> PlacedProgram:
        """Place a compiled part on one core, or on all.

        Raises:
            DeviceError: a device has no room.
        """
        cores = (self.device, *self.helpers)
        split = self.split(graph, len(cores)) if self.helpers else None
        if split is None:
            return PlacedProgram(self.device, program, allow_unproven=self.allow_unproven)
        if isinstance(split, SharedProgram):
            self.log.detail(f"{graph.name} is split over {split.cores} cores in {len(split.steps)} steps, one memory")
            return PlacedShared(self.device, split, allow_unproven=self.allow_unproven)
        self.log.detail(f"{graph.name} is split over {len(split.programs)} cores in {len(split.steps)} steps")
        return PlacedSplit(cores, split, allow_unproven=self.allow_unproven)


class Kernel(OneAtATime):
    """Runs one part: on the device, or where the NPU does not take its present shapes, on the host's own kernels.

    Works from any thread: its methods run one at a time, beside those of other kernels on the same device.

    On the device inputs and outputs are views of the host's tensors; the only copies are those into and out of the
    NPU's layout.
    """

    taking_turns = ("prepare", "invoke", "close")

    def __init__(self, workshop: Workshop, graph: Graph, program: Program | None) -> None:
        """Place ``program``, which was compiled from ``graph``; without one the part is compiled when it is prepared.

        Raises:
            DeviceError: the device has no room.
        """
        self.graph = graph
        self._workshop = workshop
        self._placed: PlacedProgram | None = None
        self._on_host: HostPart | None = None
        self._constants = constant_outputs(graph)
        self._is_ready = program is not None or len(self._constants) == len(graph.outputs)
        self._is_closed = False
        self._beside = ""
        """What the log says beside a measured time."""
        if program is not None:
            self._place(graph, program)

    def prepare(self, context: Any) -> None:
        """Follow the host's tensor shapes; where an input was resized, compile the part anew.

        Where the NPU does not take the new shapes, or the device has no room for them, the part runs on the CPU.

        Raises:
            ModelError: the host's kernels do not take the new shapes either.
        """
        shapes = {number: _shape(context, number) for number in self.graph.inputs}
        if not self._is_ready or any(self.graph.tensors[n].shape != shape for n, shape in shapes.items()):
            self._resize(propagate(self.graph, shapes))
        for number in self.graph.outputs:
            _fit_output(context, number, self.graph.tensors[number].shape)

    def _resize(self, graph: Graph) -> None:
        shapes = ", ".join(f"tensor {n} {graph.tensors[n].shape}" for n in graph.inputs)
        self._workshop.log.detail(f"{graph.name}: {shapes}")
        self.close()
        self._is_closed, self._on_host = False, None
        try:
            program = self._workshop.compile(graph)
            if program is not None:
                self._place(graph, program)
            self._constants = constant_outputs(graph)
        except (UnsupportedError, ModelError, DeviceError) as error:
            tell = say if isinstance(error, DeviceError) else self._workshop.log.detail
            tell(f"{graph.name} runs on the CPU at these sizes: {error}")
            self._on_host = HostPart(graph)
            graph = self._on_host.graph
        self.graph, self._is_ready = graph, True

    def invoke(self, context: Any) -> None:
        """Run one inference on the host's tensors.

        Raises:
            DeviceError: the device failed; the next run may work again.
            ModelError: the host gives a tensor no memory.
        """
        start = time.perf_counter()
        if self._on_host is not None:
            self._on_host.run(lambda number: _memory(context, self.graph, number))
        else:
            self._invoke(context)
        if self._workshop.log.verbose:
            took = (time.perf_counter() - start) * 1e3
            self._workshop.log.detail(f"invoked graph, took {took:.1f} ms{self._beside}")

    def _invoke(self, context: Any) -> None:
        if self._is_closed:
            raise ModelError(f"{self.graph.name} was closed; the delegate must outlive its interpreters")
        for number, value in self._constants.items():
            _memory(context, self.graph, number)[...] = value
        if self._placed is not None:
            program = self._placed.program
            inputs, outputs = (
                [_memory(context, self.graph, binding.tensor) for binding in bindings]
                for bindings in (program.inputs, program.outputs)
            )
            self._placed.run(inputs, outputs)

    def close(self) -> None:
        """Free the device's memory. Closing twice is allowed."""
        if self._placed is not None:
            self._placed.close()
        self._placed, self._is_closed = None, True

    def _place(self, graph: Graph, program: Program) -> None:
        self._placed = self._workshop.place(graph, program)
        if self._workshop.log.verbose:
            self._beside = _estimated(program, images_of(graph), self._workshop.device)


def _estimated(program: Program, images: int, device: Device) -> str:
    """Say what the chip takes for images by estimate; nothing where there is no timing model."""
    family = family_of(program.chip)
    target = next((one.target for one in family.drivers if one.name == device.name), "mainline")
    try:
        tasks = family.timed(program, Conditions("vendor" if target == "vendor" else "mainline"))
    except UnsupportedError:
        return ""
    taken = sum(task.us for task in tasks) * images / 1e3
    return f" (estimated for the {target} kernel's clock, on one core: {taken:.1f} ms)"


def _shape(context: Any, number: int) -> tuple[int, ...]:
    return abi.integers(context.tensors[number].dims)


def _fit_output(context: Any, number: int, shape: tuple[int, ...]) -> None:
    if _shape(context, number) == shape:
        return
    # The host owns the array from here on, whatever comes of it.
    if context.resize(context, ffi.addressof(context.tensors[number]), abi.given_array(shape)) != abi.OK:
        raise ModelError(f"the host refuses to give output tensor {number} the shape {shape}")


def _memory(context: Any, graph: Graph, number: int) -> Array:
    tensor, known = context.tensors[number], graph.tensors[number]
    if not known.elements:  # hosts give nothing no memory
        return np.empty(known.shape, known.dtype.value)
    if tensor.data == ffi.NULL:
        raise ModelError(f"the host gives tensor {number} ({known.name}) no memory")
    return view(tensor, known.shape, known.dtype)
