"""A whole model, ready to run: LiteRT as the host of TFLite files, ONNX Runtime as that of ONNX files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rocketnpu.closing import Closing
from rocketnpu.delegate import Delegate
from rocketnpu.device.group import IN_FLIGHT
from rocketnpu.errors import DeviceError, InputError, UnsupportedError
from rocketnpu.graph import Graph
from rocketnpu.litert import first_line, open_interpreter
from rocketnpu.model import tflite
from rocketnpu.model.files import is_onnx
from rocketnpu.partition.plan import plan
from rocketnpu.pipeline import Crew, Pipeline
from rocketnpu.policy import Policy

if TYPE_CHECKING:
    from rocketnpu.onnx_host.inference import OnnxInference

Array = npt.NDArray[Any]
MOST_IN_FLIGHT = 64
"""Inferences at once; each has a copy of the program, and a device 4 GiB of addresses."""


class Inference(Closing):
    """A model on a device. A context manager.

    Works from any thread: ``in_flight`` inferences run at once, others wait, and closing waits for those that run.
    """

    def __init__(self, model: str | Path, *, in_flight: int | None = None, **options: object) -> None:
        """Read the model, and hand to the NPU what it takes.

        Args:
            model: path of a ``.tflite`` or ``.onnx`` file.
            in_flight: how many inferences may be at work at a time, spread over the ``cores`` of the options; each has
                its own copy of the program in the device's memory. Two a core keep it busy: while one computes, the
                next one's inputs are converted and the last one's outputs. Where not given one, or with several cores
                two for each.
            **options: those of :mod:`rocketnpu.delegate.options`, such as ``device``.

        Raises:
            ModelError: the model is damaged, or its host refuses it.
            UnsupportedError: the NPU takes no operator of it, or a package that its format needs is not installed.
            DeviceError: the device is not there, or failed.
            InputError: ``in_flight`` is not from 1 to 64, or an option is wrong.
        """
        path = Path(model)
        self.in_flight = _in_flight(in_flight, options)
        self._host: _LiteRt | OnnxInference
        if is_onnx(path):
            from rocketnpu.onnx_host.inference import OnnxInference

            self._host = OnnxInference(path, in_flight=self.in_flight, **options)
        else:
            self._host = _LiteRt(path, self.in_flight, options)
        self.graph: Graph = self._host.graph

    @property
    def device_name(self) -> str:
        """Name of the device that runs what the NPU takes, such as "simulator"."""
        return self._host.device_name

    @property
    def chip(self) -> str:
        """Name of the chip that this device is."""
        return self._host.chip

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run one inference; arrays have the shapes of the file, in the order of its inputs and outputs.

        Raises:
            InputError: an input does not fit.
            DeviceError: the device failed, or the inference was closed.
        """
        return self._host.run(inputs)

    def run_many(self, batches: Iterable[Sequence[Array]]) -> list[list[Array]]:
        """Run many inferences, ``in_flight`` at a time; return the outputs of each, in order.

        The outputs are those of :meth:`run`, byte for byte.

        Args:
            batches: the inputs of each inference, as :meth:`run` takes them; taken one by one, as room becomes free.

        Raises:
            SomeFailedError: some inferences failed; the others were made all the same, and the error has their outputs.
        """
        with Pipeline(self.run, self.in_flight) as pipeline:
            return pipeline.gather(batches)

    def outcomes(self, batches: Iterable[Sequence[Array]]) -> Iterator[Future[list[Array]]]:
        """Do as :meth:`run_many`, but yield each inference's ended future in order, with its outputs or its error."""
        with Pipeline(self.run, self.in_flight) as pipeline:
            yield from pipeline.outcomes(batches)

    def close(self) -> None:
        """Free the interpreters and the device. Closing twice is allowed."""
        self._host.close()


def _in_flight(wanted: int | None, options: Mapping[str, object]) -> int:
    cores = int(str(options.get("cores", 1))) if str(options.get("cores", 1)).isdecimal() else 1
    found = wanted if wanted is not None else 1 if cores == 1 else IN_FLIGHT * cores
    if not 1 <= found <= MOST_IN_FLIGHT:
        raise InputError(f"{found} inferences in flight were asked for; valid are 1 to {MOST_IN_FLIGHT}")
    return found


class _LiteRt(Closing):
    """LiteRT with our delegate: interpreters that share it, each for one inference at a time."""

    def __init__(self, path: Path, in_flight: int, options: Mapping[str, object]) -> None:
        self.graph: Graph = tflite.load(path)
        self.delegate = Delegate(**{"minimum_macs": 0, **options})
        try:
            self._refuse_unsupported(path)
            self._crew = Crew([open_interpreter(path, [self.delegate]) for _ in range(in_flight)])
        except BaseException:
            self.delegate.close()
            raise

    @property
    def device_name(self) -> str:
        """Name of the device."""
        return self.delegate.device_name

    @property
    def chip(self) -> str:
        """Name of its chip."""
        return self.delegate.chip

    def _refuse_unsupported(self, path: Path) -> None:
        divided = plan(self.graph, Policy(chip=self.chip))
        if not divided.parts:
            first = next((decision for decision in divided.decisions if not decision.supported), None)
            reason = f": {first.kind}: {first.reason}" if first else ""
            raise UnsupportedError(f"{path.name} has no operator that the NPU takes{reason}")

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run one inference."""
        if len(inputs) != len(self.graph.inputs):
            raise InputError(f"the model has {len(self.graph.inputs)} inputs, {len(inputs)} were given")
        with self._crew.lend() as interpreter:
            return self._run(interpreter, inputs)

    def _run(self, interpreter: Any, inputs: Sequence[Array]) -> list[Array]:
        for number, array in zip(self.graph.inputs, inputs, strict=True):
            try:
                interpreter.set_tensor(number, np.asarray(array, order="C"))
            except ValueError as error:
                raise InputError(f"input {number} does not fit: {error}") from None
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise DeviceError(f"the inference failed: {first_line(error)}") from None
        return [interpreter.get_tensor(number) for number in self.graph.outputs]

    def close(self) -> None:
        """Free the interpreters and the device. Closing twice is allowed."""
        self._crew.dismiss()
        self.delegate.close()
