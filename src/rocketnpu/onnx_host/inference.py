"""An ONNX model on a device: the NPU's parts, and ONNX Runtime for what lies between them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.closing import Closing
from rocketnpu.delegate.delegate import cache_folder
from rocketnpu.delegate.options import parse
from rocketnpu.delegate.session import policy_for
from rocketnpu.device.base import Device
from rocketnpu.device.discover import open_device
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.group import cores_of
from rocketnpu.errors import InputError, UnsupportedError
from rocketnpu.graph import Graph
from rocketnpu.model import onnx
from rocketnpu.model.onnx import OnnxModel
from rocketnpu.onnx_host.pieces import Piece, pieces
from rocketnpu.onnx_host.runtime import run_session, session
from rocketnpu.partition.plan import plan
from rocketnpu.pipeline import Crew
from rocketnpu.program.cache import ProgramCache
from rocketnpu.program.program import Program

Array = npt.NDArray[Any]
_Ready = tuple[Piece, Any] | tuple[Graph, Program]
"""A step that is ready to be placed."""
_Lane = list[tuple[Piece, Any] | tuple[Graph, PlacedProgram]]
"""The steps of one inference: sessions, which all share, and programs of its own."""


class OnnxInference(Closing):
    """A model ready to run. A context manager.

    Works from any thread: ``in_flight`` inferences run at once, others wait, and closing waits for those that run.
    """

    def __init__(
        self, model: str | Path | OnnxModel, on: Device | None = None, /, *, in_flight: int = 1, **options: object
    ) -> None:
        """Read the model, compile what the NPU takes of it, and make sessions of the rest.

        Args:
            model: path of an ``.onnx`` file, or one that was read.
            on: where to run, closed at the end; opened by the option of that name if not given.
            in_flight: inferences at a time, spread over the device's cores.
            **options: those of :mod:`rocketnpu.delegate.options`.

        Raises:
            ModelError: the model is damaged, or ONNX Runtime refuses it.
            UnsupportedError: the NPU takes nothing of it, or ``require_full`` was asked for and it does not take all.
            DeviceError: the device is not there, or failed.
        """
        chosen = parse({"minimum_macs": 0, **options})
        self.model = model if isinstance(model, OnnxModel) else onnx.load(model)
        self.graph: Graph = self.model.graph
        with contextlib.ExitStack() as stack:
            self._device = on or open_device(chosen.device, cores=chosen.cores, chip=chosen.chip)
            stack.callback(self._device.close)
            policy = policy_for(self._device, chosen)
            self.plan = plan(self.graph, policy)
            self._check(chosen.require_full)
            cache = ProgramCache(cache_folder(chosen))
            ready: list[_Ready] = [
                (step, session(step.model, fused=True))
                if isinstance(step, Piece)
                else (step, cache.program(step, policy))
                for step in pieces(self.model, self.plan.parts)
            ]
            cores = cores_of(self._device)
            lanes = [
                _lane(ready, cores[number % len(cores)], policy.allow_unproven, stack) for number in range(in_flight)
            ]
            self._crew = Crew(lanes)
            self._end = stack.pop_all()

    @property
    def device_name(self) -> str:
        """Name of the device that runs what the NPU takes, such as "simulator"."""
        return self._device.name

    @property
    def chip(self) -> str:
        """Name of the chip that this device is."""
        return self._device.chip

    def _check(self, require_full: bool) -> None:
        refused = [decision for decision in self.plan.decisions if not decision.supported]
        reasons = [f"{decision.kind}: {decision.reason}" for decision in refused if decision.kind not in BORDERS]
        if not self.plan.parts:
            reason = f": {reasons[0]}" if reasons else ""
            raise UnsupportedError(f"{self.graph.name} has no operator that the NPU takes{reason}")
        if require_full and reasons:
            raise UnsupportedError(f"require_full: {len(reasons)} operators would stay on the CPU, first {reasons[0]}")

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run one inference; arrays are as the file has them, in the order of its inputs and outputs.

        Raises:
            InputError: an input does not fit.
            DeviceError: the device failed.
        """
        values = dict(zip((self.model.ports[n].value for n in self.graph.inputs), self._checked(inputs), strict=True))
        with self._crew.lend() as lane:
            self._run(lane, values)
        return [self._output(name.name, values) for name in self.model.proto.graph.output]

    def _run(self, lane: _Lane, values: dict[str, Array]) -> None:
        for step, runner in lane:
            if isinstance(step, Piece):
                found = run_session(runner, step.outputs, {name: values[name] for name in step.inputs})
                values.update(zip(step.outputs, found, strict=True))
                continue
            ports = self.model.ports
            given = [ports[n].layout.to_graph(values[ports[n].value]) for n in step.inputs]
            for number, result in zip(step.outputs, runner.run(given), strict=True):
                layout = ports[number].layout
                values[ports[number].value] = np.asarray(layout.to_value(result, layout.file_shape), order="C")

    def _checked(self, inputs: Sequence[Array]) -> list[Array]:
        if len(inputs) != len(self.graph.inputs):
            raise InputError(f"the model has {len(self.graph.inputs)} inputs, {len(inputs)} were given")
        for number, array in zip(self.graph.inputs, inputs, strict=True):
            tensor = self.graph.tensors[number]
            if tuple(np.shape(array)) != tensor.shape or np.asarray(array).dtype.name != tensor.dtype.value:
                raise InputError(
                    f"input {tensor.name!r} is {tensor.dtype.value} of shape {tensor.shape}, given was "
                    f"{np.asarray(array).dtype} of shape {np.shape(array)}"
                )
        return [np.asarray(array, order="C") for array in inputs]

    def _output(self, name: str, values: dict[str, Array]) -> Array:
        if name in values:
            return values[name]
        from rocketnpu.model.onnx.values import array_of

        return array_of(next(tensor for tensor in self.model.proto.graph.initializer if tensor.name == name))

    def close(self) -> None:
        """Free programs, sessions and the device. Closing twice is allowed."""
        self._crew.dismiss()
        self._end.close()


def _lane(ready: Sequence[_Ready], core: Device, allow_unproven: bool, stack: contextlib.ExitStack) -> _Lane:
    """Place the programs once more, on a core; they are freed with the stack."""
    return [
        (step, stack.enter_context(PlacedProgram(core, made, allow_unproven=allow_unproven)))
        if isinstance(step, Graph)
        else (step, made)
        for step, made in ready
    ]


BORDERS = ("QUANTIZE", "DEQUANTIZE", "TRANSPOSE", "RESHAPE")
"""Kinds of operator at the borders between real numbers and bytes, which no NPU computes."""
