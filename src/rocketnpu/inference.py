"""A whole model, ready to run: LiteRT as the host of TFLite files, ONNX Runtime as that of ONNX files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rocketnpu.closing import Closing
from rocketnpu.delegate import Delegate
from rocketnpu.device.one_at_a_time import OneAtATime
from rocketnpu.errors import DeviceError, InputError, ModelError, UnsupportedError
from rocketnpu.graph import Graph
from rocketnpu.litert import require_litert
from rocketnpu.model import tflite
from rocketnpu.model.files import is_onnx
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy

if TYPE_CHECKING:
    from rocketnpu.onnx_host.inference import OnnxInference

Array = npt.NDArray[Any]


class Inference(Closing, OneAtATime):
    """A model on a device. A context manager. Works from any thread: inferences run one at a time."""

    taking_turns = ("run", "close")

    def __init__(self, model: str | Path, **options: object) -> None:
        """Read the model, and hand to the NPU what it takes.

        Args:
            model: path of a ``.tflite`` or ``.onnx`` file.
            **options: those of :mod:`rocketnpu.delegate.options`, such as ``device``.

        Raises:
            ModelError: the model is damaged, or its host refuses it.
            UnsupportedError: the NPU takes no operator of it, or a package that its format needs is not installed.
            DeviceError: the device is not there, or failed.
        """
        path = Path(model)
        self._host: _LiteRt | OnnxInference
        if is_onnx(path):
            from rocketnpu.onnx_host.inference import OnnxInference

            self._host = OnnxInference(path, **options)
        else:
            self._host = _LiteRt(path, options)
        self.graph: Graph = self._host.graph

    @property
    def device_name(self) -> str:
        """Name of the device that runs what the NPU takes, such as "simulator"."""
        return self._host.device_name

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run one inference; arrays have the shapes of the file, in the order of its inputs and outputs.

        Raises:
            InputError: an input does not fit.
            DeviceError: the device failed.
        """
        return self._host.run(inputs)

    def close(self) -> None:
        """Free the interpreter and the device. Closing twice is allowed."""
        self._host.close()


class _LiteRt(Closing):
    """LiteRT with our delegate."""

    def __init__(self, path: Path, options: Mapping[str, object]) -> None:
        self.graph: Graph = tflite.load(path)
        self._refuse_unsupported(path)
        self.delegate = Delegate(**{"minimum_macs": 0, **options})
        try:
            self._interpreter = _interpreter(path, self.delegate)
        except BaseException:
            self.delegate.close()
            raise

    @property
    def device_name(self) -> str:
        """Name of the device."""
        return self.delegate.device_name

    def _refuse_unsupported(self, path: Path) -> None:
        divided = plan(self.graph, Policy())
        if not divided.parts:
            first = next((decision for decision in divided.decisions if not decision.supported), None)
            reason = f": {first.kind}: {first.reason}" if first else ""
            raise UnsupportedError(f"{path.name} has no operator that the NPU takes{reason}")

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run one inference."""
        interpreter = self._interpreter
        if len(inputs) != len(self.graph.inputs):
            raise InputError(f"the model has {len(self.graph.inputs)} inputs, {len(inputs)} were given")
        for number, array in zip(self.graph.inputs, inputs, strict=True):
            try:
                interpreter.set_tensor(number, np.ascontiguousarray(array))
            except ValueError as error:
                raise InputError(f"input {number} does not fit: {error}") from None
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise DeviceError(f"the inference failed: {_first_line(error)}") from None
        return [interpreter.get_tensor(number) for number in self.graph.outputs]

    def close(self) -> None:
        """Free the interpreter and the device. Closing twice is allowed."""
        self._interpreter = None
        self.delegate.close()


def _interpreter(path: Path, delegate: Delegate) -> Any:
    litert = require_litert()
    try:
        interpreter = litert.Interpreter(
            model_path=str(path),
            num_threads=1,
            # LiteRT's own default delegate would not change what is left, and greets on stderr.
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_delegates=[delegate],
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT refuses {path.name}: {_first_line(error)}") from None
    return interpreter


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
