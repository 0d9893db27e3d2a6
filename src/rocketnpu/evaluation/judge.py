"""One picture through a model twice: by the reference's kernels and by the chip."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from rocketnpu.closing import Closing
from rocketnpu.errors import InputError, ModelError
from rocketnpu.evaluation.reference import Array, Reference
from rocketnpu.evaluation.samples import Sample
from rocketnpu.files.limits import MODEL_BYTES
from rocketnpu.files.reading import read_file
from rocketnpu.inference import Inference
from rocketnpu.pictures import read_pixels
from rocketnpu.scores import picture_input, pixels_input, probabilities
from rocketnpu.vision.detector import Detector

SHOWN = 5
"""Answers of a classifier that are kept: top-1 and top-5 are what people compare."""
LEAST_SCORE = 0.001
"""Of a detection that counts: precision is drawn over all scores."""
Found = tuple[tuple[int, float, tuple[float, float, float, float]], ...]
"""Detections: class, score, and left, top, right and bottom in pixels."""


@dataclass(frozen=True)
class Task:
    """What a worker has to know."""

    model: Path
    digest: str
    """Of the model's bytes: a worker elsewhere must have the same file."""
    labels: Path | None
    """Of a detector's classes."""
    detects: bool
    options: Mapping[str, object] = field(default_factory=dict)
    """Those of the delegate."""

    @cached_property
    def key(self) -> str:
        """Tells tasks apart."""
        return f"{self.digest} {self.labels} {self.detects} {sorted(map(str, self.options.items()))}"


@dataclass(frozen=True)
class Verdict:
    """What both said of one picture. Of a picture that cannot be read only ``error`` is set."""

    number: int
    error: str = ""
    reference: tuple[int, ...] = ()
    """A classifier's best answers, the best first; of equal scores the lower class."""
    chip: tuple[int, ...] = ()
    apart: float = 0.0
    """The largest difference of two outputs, as the model gives them."""
    reference_found: Found = ()
    """A detector's."""
    chip_found: Found = ()


def digest_of(model: Path) -> str:
    """Return the hash of a model's bytes.

    Raises:
        ModelError: the file cannot be read.
    """
    return hashlib.sha256(read_file(model, MODEL_BYTES, "model", ModelError)).hexdigest()


class Judge(Closing):
    """A context manager. One thread's own."""

    def __init__(self, task: Task) -> None:
        """Open the model on both.

        Raises:
            ModelError: the model is damaged, or another one than the task's.
            InputError: it is no classifier, or no detector.
            UnsupportedError, DeviceError: as :class:`rocketnpu.inference.Inference`.
        """
        if digest_of(task.model) != task.digest:
            raise ModelError(f"{task.model} is another file here than where the evaluation was started")
        self._detector: Detector | None = None
        self._inference: Inference | None = None
        if task.detects:
            self._detector = Detector(task.model, task.labels, LEAST_SCORE, **task.options)
            self.graph = self._detector.graph
        else:
            self._inference = Inference(task.model, in_flight=1, **task.options)
            self.graph = self._inference.graph
        try:
            self._reference = Reference(task.model, self.graph)
        except BaseException:
            self.close()
            raise

    def judge(self, sample: Sample) -> Verdict:
        """Ask both.

        Raises:
            DeviceError: the device failed.
        """
        if self._detector is not None:
            return self._detected(self._detector, sample)
        assert self._inference is not None
        try:
            given = picture_input(sample.path, self.graph)
        except InputError as error:
            return Verdict(sample.number, str(error))
        (wanted,), (got,) = self._reference.run([given]), self._inference.run([given])
        return Verdict(sample.number, "", self._best(wanted), self._best(got), _apart(wanted, got))

    def _best(self, values: Array) -> tuple[int, ...]:
        scores = probabilities(self.graph, values)
        return tuple(map(int, (-scores).argsort(kind="stable")[:SHOWN]))

    def _detected(self, detector: Detector, sample: Sample) -> Verdict:
        try:
            pixels = read_pixels(sample.path)
        except InputError as error:
            return Verdict(sample.number, str(error))
        fitting = detector.fitting(pixels)
        given = pixels_input(fitting.apply(pixels)[None], self.graph)
        wanted = detector.detections(fitting, self._reference.run([given]))
        both = [tuple((one.number, one.score, one.box) for one in found) for found in (wanted, detector.detect(pixels))]
        return Verdict(sample.number, reference_found=both[0], chip_found=both[1])

    def close(self) -> None:
        """Free the device. Closing twice is allowed."""
        for owned in (self._detector, self._inference):
            if owned is not None:
                owned.close()


def _apart(one: Array, other: Array) -> float:
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))
