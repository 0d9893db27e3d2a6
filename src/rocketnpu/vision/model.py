"""What models that look at pictures have in common: a graph, the size of its picture, and a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.closing import Closing
from rocketnpu.graph import Graph, Tensor
from rocketnpu.inference import Inference
from rocketnpu.model.files import read
from rocketnpu.scores import input_tensor, pixels_input
from rocketnpu.vision.letterbox import Fitting, Pixels

Array = npt.NDArray[Any]


class VisionModel(Closing):
    """A model that takes one picture. A context manager.

    Works from any thread: ``in_flight`` inferences run at once, others wait. What a subclass refuses of a graph it
    refuses before :meth:`_start`, so that no device is opened for it.
    """

    def __init__(self, model: Path) -> None:
        """Read the model.

        Raises:
            InputError: it takes no picture.
            ModelError: it is damaged.
        """
        self.graph: Graph = read(model)
        self.size = picture_size(self.graph)
        self._path = model

    def _start(self, **options: Any) -> None:
        """Hand to the NPU what it takes.

        Raises:
            ModelError, UnsupportedError, DeviceError: as :class:`rocketnpu.inference.Inference`.
        """
        self._inference = Inference(self._path, **options)

    @property
    def device_name(self) -> str:
        """Name of the device that runs what the NPU takes."""
        return self._inference.device_name

    @property
    def chip(self) -> str:
        """Name of the chip that this device is."""
        return self._inference.chip

    def run(self, fitting: Fitting, pixels: Pixels) -> Sequence[Array]:
        """Return the outputs, as they are, for a picture, ``(rows, columns, 3)``, that lies in the input so.

        Raises:
            DeviceError: the device failed.
        """
        return self._inference.run([pixels_input(fitting.apply(pixels)[None], self.graph)])

    def close(self) -> None:
        """Free the interpreters and the device. Closing twice is allowed."""
        self._inference.close()


def picture_size(graph: Graph) -> tuple[int, int]:
    """Return rows and columns of a model's picture, whichever order its axes have.

    Raises:
        InputError: it takes no picture.
    """
    shape = input_tensor(graph).shape
    return (shape[1], shape[2]) if shape[3] in (1, 3) else (shape[2], shape[3])


def real_values(values: Array, tensor: Tensor) -> Array:
    """Return a tensor's elements as real numbers."""
    quantised = tensor.quantisation is not None and values.dtype.kind in "iu"
    if not quantised or tensor.quantisation is None:
        return values
    steps = values.astype(np.float32) - np.float32(tensor.quantisation.zero_point)
    return np.asarray(steps * np.float32(tensor.quantisation.scale), np.float32)
