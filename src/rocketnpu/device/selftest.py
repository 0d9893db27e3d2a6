"""Small networks that run on a device and on the simulator, to be compared byte for byte.

Each case covers one way in which an NPU is used; all their numbers come from a fixed seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rocketnpu.compiler import compile_graph
from rocketnpu.device.base import Device
from rocketnpu.device.executor import Array, run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import DeviceError
from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.program.program import Program

_SEED = 3588
_SCALE, _ZERO_POINT = 0.05, 128
_WEIGHT_SCALE, _WEIGHT_ZERO_POINT = 0.006, 128


@dataclass(frozen=True)
class Case:
    """A network with one input and one output, and what it is meant to show."""

    name: str
    about: str
    model: bytes

    def program(self) -> Program:
        """Compile it."""
        return compile_graph(parse(self.model))

    def picture(self) -> npt.NDArray[np.uint8]:
        """Return an input of its shape."""
        shape = parse(self.model).tensors[parse(self.model).inputs[0]].shape
        return np.random.default_rng(_SEED).integers(0, 256, shape, np.uint8)


@dataclass(frozen=True)
class Outcome:
    """What became of a case. ``error`` is empty where the device ran to its end."""

    name: str
    about: str
    equal: bool
    differing: int
    total: int
    first: tuple[int, ...]
    """Coordinate of the first wrong element; empty if there is none."""
    seconds: float
    error: str


class _Network:
    """A chain of convolutions under construction."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        self.builder = ModelBuilder()
        self.random = np.random.default_rng(_SEED)
        self.first = self.last = self._feature((1, height, width, channels))
        self.shape = (1, height, width, channels)

    def _feature(self, shape: tuple[int, ...]) -> int:
        return self.builder.tensor(shape, DType.UINT8, scale=_SCALE, zero_point=_ZERO_POINT)

    def convolve(self, outputs: int, kernel: int, stride: int = 1, *, depthwise: bool = False) -> _Network:
        _, height, width, channels = self.shape
        shape = (1, kernel, kernel, channels) if depthwise else (outputs, kernel, kernel, channels)
        values = self.random.integers(0, 256, shape)
        scale, zero = _WEIGHT_SCALE / (kernel * (1 if depthwise else channels**0.5)), _WEIGHT_ZERO_POINT
        weights = self.builder.tensor(shape, DType.UINT8, scale=scale, zero_point=zero, data=values)
        bias = self.builder.tensor(
            (outputs,), DType.INT32, scale=scale * _SCALE, data=self.random.integers(-999, 999, outputs)
        )
        attributes = (
            ops.DepthwiseConv2D(stride=(stride, stride), padding=Padding.SAME, activation=Activation.RELU6)
            if depthwise
            else ops.Conv2D(stride=(stride, stride), padding=Padding.SAME)
        )
        self.shape = (1, -(-height // stride), -(-width // stride), outputs)
        made = self._feature(self.shape)
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        self.builder.operator(kind, [self.last, weights, bias], [made], attributes)
        self.last = made
        return self

    def done(self) -> bytes:
        return self.builder.build([self.first], [self.last])


def cases() -> list[Case]:
    """Return the cases, simplest first."""
    return [
        Case("pointwise", "1x1 convolution, one task", _Network(8, 8, 32).convolve(32, 1).done()),
        Case(
            "stem",
            "3x3 convolution of a three-channel picture, stride 2",
            _Network(32, 32, 3).convolve(16, 3, 2).done(),
        ),
        Case("depthwise", "3x3 depthwise convolution", _Network(16, 16, 64).convolve(64, 3, depthwise=True).done()),
        Case("odd", "sizes that divide by nothing", _Network(7, 11, 19).convolve(37, 3).done()),
        Case("tiled", "more rows than the buffer holds: several tasks", _Network(112, 112, 32).convolve(16, 3).done()),
        Case(
            "chain",
            "tasks that read what earlier ones wrote",
            _Network(28, 28, 16)
            .convolve(32, 3)
            .convolve(32, 3, 2, depthwise=True)
            .convolve(48, 1)
            .convolve(16, 3)
            .done(),
        ),
    ]


def compare(
    device: Device, chosen: Sequence[Case], tell: Callable[[Outcome], None] = lambda _outcome: None
) -> list[Outcome]:
    """Run cases on the device and on a fresh simulator; ``tell`` hears of each as soon as it is known.

    A case whose device fails is an outcome with an error, and the next case runs.
    """
    outcomes = []
    for case in chosen:
        outcomes.append(_compare(device, case))
        tell(outcomes[-1])
    return outcomes


def _compare(device: Device, case: Case) -> Outcome:
    program, picture = case.program(), case.picture()
    with SimulatorDevice() as simulator:
        wanted = run(simulator, program, [picture])[0]
    start = time.perf_counter()
    try:
        found = run(device, program, [picture])[0]
    except DeviceError as error:
        return Outcome(case.name, case.about, False, 0, wanted.size, (), time.perf_counter() - start, str(error))
    seconds = time.perf_counter() - start
    wrong = np.argwhere(found != wanted)
    first = tuple(int(index) for index in wrong[0]) if len(wrong) else ()
    return Outcome(case.name, case.about, not len(wrong), len(wrong), wanted.size, first, seconds, "")


def expected(case: Case) -> Array:
    """Return what the simulator computes for a case."""
    with SimulatorDevice() as simulator:
        return run(simulator, case.program(), [case.picture()])[0]
