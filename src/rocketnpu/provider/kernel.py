"""One part of a network, compiled and placed: what stands in ONNX Runtime's graph instead of its own nodes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.delegate.log import Log
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.errors import InputError, ModelError
from rocketnpu.graph import Tensor
from rocketnpu.model.onnx.writer import Port
from rocketnpu.program.program import Program
from rocketnpu.provider.abi import Runtime, ffi

Array = npt.NDArray[Any]
_ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9}
"""Numbers of ``ONNXTensorElementDataType``."""


@dataclass(frozen=True)
class Slot:
    """A tensor of the part, and which of the host's values it is."""

    place: int
    """Among the inputs or outputs of the node that stands for the part."""
    port: Port
    tensor: Tensor
    is_real: bool = False
    """Whether the host has the real numbers only: those of the very scale, so nothing is lost in going back."""


class Kernel:
    """Runs one part on the device. Any thread may do so, one after another."""

    def __init__(
        self,
        runtime: Runtime,
        placed: PlacedProgram,
        inputs: Sequence[Slot],
        outputs: Sequence[Slot],
        log: Log,
        lock: threading.RLock,
    ) -> None:
        """Take over a placed program; ``lock`` is held while the device works."""
        self._runtime, self._log, self._lock = runtime, log, lock
        self._placed: PlacedProgram | None = placed
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)

    def compute(self, context: Any) -> None:
        """Run one inference on the host's tensors.

        Raises:
            DeviceError: the device failed; the next run may work again.
            InputError: the host gives a tensor of another shape than it announced.
        """
        start = time.perf_counter()
        with self._lock:
            if self._placed is None:
                raise ModelError("this part was released; its session is gone")
            results = self._placed.run([self._input(context, slot) for slot in self._inputs])
        for slot, result in zip(self._outputs, results, strict=True):
            self._output(context, slot, result)
        if self._log.verbose:
            self._log.detail(f"invoked graph, took {(time.perf_counter() - start) * 1e3:.1f} ms")

    def _input(self, context: Any, slot: Slot) -> Array:
        runtime = self._runtime
        value = runtime.pointer("KernelContext_GetInput", context, slot.place)
        kind = "float32" if slot.is_real else slot.tensor.dtype.value
        self._check(value, slot, kind)
        data = ffi.new("const void **")
        runtime.call("GetTensorData", value, data)
        given = np.frombuffer(ffi.buffer(data[0], slot.tensor.elements * np.dtype(kind).itemsize), kind)
        return slot.port.layout.to_graph(_whole(given, slot.tensor) if slot.is_real else given)

    def _check(self, value: Any, slot: Slot, kind: str) -> None:
        """See that the host's tensor is what a part takes or makes: a compiled part comes from a file."""
        runtime = self._runtime
        if value == ffi.NULL:
            raise InputError(f"{slot.tensor.name!r} is the node's number {slot.place}, and it has fewer")
        info = runtime.pointer("GetTensorTypeAndShape", value)
        try:
            shape, found = runtime.shape(info), runtime.number("GetTensorElementType", info, "int")
        finally:
            runtime.call("ReleaseTensorTypeAndShapeInfo", info)
        if found != _ELEMENT_TYPES.get(kind):
            raise InputError(f"{slot.tensor.name!r} has elements of type {found}, the session was made for {kind}")
        if math.prod(shape) != slot.tensor.elements or shape != slot.port.layout.file_shape:
            raise InputError(
                f"{slot.tensor.name!r} has shape {shape}, the session was made for {slot.port.layout.file_shape}"
            )

    def _output(self, context: Any, slot: Slot, result: Array) -> None:
        shape = slot.port.layout.file_shape
        sizes = ffi.new("int64_t[]", shape or (0,))
        value = self._runtime.pointer("KernelContext_GetOutput", context, slot.place, sizes, len(shape))
        self._check(value, slot, result.dtype.name)
        data = self._runtime.pointer("GetTensorMutableData", value)
        target = np.frombuffer(ffi.buffer(data, result.nbytes), result.dtype).reshape(shape)
        np.copyto(target, slot.port.layout.to_value(result, shape))

    def compiled(self) -> tuple[Program, tuple[Slot, ...], tuple[Slot, ...]]:
        """Return the program, and what its inputs and outputs are among those of the host's node.

        Raises:
            ModelError: it was released.
        """
        if self._placed is None:
            raise ModelError("this part was released; its session is gone")
        return self._placed.program, self._inputs, self._outputs

    def close(self) -> None:
        """Free the device's memory. Closing twice is allowed."""
        with self._lock:
            if self._placed is not None:
                self._placed.close()
            self._placed = None


def _whole(reals: Array, tensor: Tensor) -> Array:
    """Return the bytes that real numbers were made of."""
    assert tensor.quantisation is not None
    limits = np.iinfo(tensor.dtype.value)
    steps = np.rint(reals / np.float32(tensor.quantisation.scale)) + tensor.quantisation.zero_point
    found: Array = np.clip(steps, limits.min, limits.max).astype(tensor.dtype.value)
    return found
