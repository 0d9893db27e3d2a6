"""Cases of one operator: where choices come from, what a model under construction needs, and pictures to show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from rocketnpu.graph import DType, Graph, Tensor
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse

Item = TypeVar("Item")
PATTERNS = ("lowest", "zero point", "highest", "rows", "columns", "channels", "random")
SCHEMES = ("uint8", "int8", "int8 per channel")


class Chooser(Protocol):
    """Where choices come from: a seed, or hypothesis."""

    def integer(self, low: int, high: int) -> int: ...
    def pick(self, items: Sequence[Item]) -> Item: ...


class Seeded:
    """Chooses by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high, endpoint=True))

    def pick(self, items: Sequence[Item]) -> Item:
        return items[self.integer(0, len(items) - 1)]


class Drawn:
    """Chooses by hypothesis, which shrinks towards the first item and the lowest number."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def pick(self, items: Sequence[Item]) -> Item:
        return self.draw(st.sampled_from(items))


@dataclass(frozen=True)
class Case:
    """A model of one operator; ``seed`` fills the random picture."""

    name: str
    model: bytes
    seed: int

    @cached_property
    def graph(self) -> Graph:
        return parse(self.model, self.name)

    def inputs(self, pattern: str) -> list[npt.NDArray[Any]]:
        """Values of one of :data:`PATTERNS` for each input of the model."""
        return [
            picture(self.graph.tensors[number], pattern, self.seed + place)
            for place, number in enumerate(self.graph.inputs)
        ]

    def __repr__(self) -> str:
        return f"{self.name}: {self.graph.operators[0]}\n" + "\n".join(map(str, self.graph.tensors.values()))


def limits(dtype: DType) -> tuple[int, int]:
    """Lowest and highest value of an integer type."""
    found = np.iinfo(dtype.value)
    return int(found.min), int(found.max)


def picture(tensor: Tensor, pattern: str, seed: int) -> npt.NDArray[Any]:
    """Fill a quantised tensor with a pattern. Channels are the last axis, then columns, then rows."""
    low, high = limits(tensor.dtype)
    assert tensor.quantisation is not None
    values = np.zeros(tensor.shape, np.int64)
    if pattern in {"lowest", "zero point", "highest"}:
        values += {"lowest": low, "zero point": tensor.quantisation.zero_point, "highest": high}[pattern]
    elif pattern == "random":
        random = np.random.default_rng(seed)
        values = random.integers(low, high, tensor.shape, endpoint=True)
        extreme = random.random(tensor.shape)
        values[extreme < 0.05] = low
        values[extreme > 0.95] = high
    else:
        axis = len(tensor.shape) - {"rows": 3, "columns": 2, "channels": 1}[pattern]
        size = tensor.shape[max(axis, 0)] if tensor.shape else 1
        ramp = np.arange(size) * 37 % 256 if pattern == "channels" else np.arange(size) * 255 // max(1, size - 1)
        values = np.moveaxis(np.moveaxis(values, max(axis, 0), -1) + low + ramp, -1, max(axis, 0))
    return values.astype(tensor.dtype.value)


@dataclass
class Bench:
    """What every family needs while it builds: choices, random numbers, the model so far."""

    choose: Chooser
    scheme: str
    seed: int

    def __post_init__(self) -> None:
        self.builder = ModelBuilder()
        self.random = np.random.default_rng(self.seed)
        self.dtype = DType(self.scheme.split()[0])
        self.low, self.high = limits(self.dtype)

    @classmethod
    def of(cls, choose: Chooser, schemes: Sequence[str] = SCHEMES[:2]) -> Bench:
        return cls(choose, choose.pick(schemes), choose.integer(0, 1 << 20))

    def zero_point(self) -> int:
        """The middle, an end, or anything."""
        middle = (self.low + self.high + 1) // 2
        return self.choose.pick((middle, self.low, self.high, middle + 3, self.choose.integer(self.low, self.high)))

    def scale(self) -> float:
        """Any size that occurs in real models."""
        return float(np.float32(2.0 ** self.random.uniform(-9, -3)))

    def input(self, shape: Sequence[int], like: tuple[float, int] | None = None) -> tuple[int, float, int]:
        """Add a network input; returns its number, scale and zero point."""
        scale, zero_point = like or (self.scale(), self.zero_point())
        return self.builder.tensor(shape, self.dtype, scale=scale, zero_point=zero_point), scale, zero_point

    def tensor(self, shape: Sequence[int], scale: float, zero_point: int) -> int:
        return self.builder.tensor(shape, self.dtype, scale=scale, zero_point=zero_point)

    def constant(self, values: npt.ArrayLike) -> int:
        array = np.asarray(values, np.int32)
        return self.builder.tensor(array.shape, DType.INT32, data=array)

    def output(self, shape: Sequence[int], mean: float, spread: float) -> int:
        """Add an output whose range covers values around ``mean``: all, most, or (saturating) some of them."""
        widths = self.choose.pick((2.5, 2.5, 4.0, 0.7))
        scale = max(2 * widths * spread / 255, 1e-6)
        zero_point = int(np.clip(round(self.low - (mean - widths * spread) / scale), self.low, self.high))
        return self.tensor(shape, scale, zero_point)

    def finish(
        self, kind: str, inputs: Sequence[int | None], output: int, attributes: Any, given: Sequence[int]
    ) -> Case:
        self.builder.operator(kind, inputs, [output], attributes)
        return Case(f"{kind} {self.scheme}", self.builder.build(given, [output]), self.seed)
