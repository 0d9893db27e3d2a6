"""How a tensor of the graph lies to the value of the ONNX file that it holds: NHWC to NCHW, and rows of maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """A value seen as ``split``, its axes put in ``order``, and that seen as ``shape``: the graph's tensor.

    ``places`` says which axis of ``split`` each axis of the value is; others have size 1.
    """

    split: Shape
    order: Shape
    shape: Shape
    places: Shape

    @classmethod
    def plain(cls, shape: Shape) -> Layout:
        """Return the layout of a tensor that lies as the value does."""
        axes = tuple(range(len(shape)))
        return cls(shape, axes, shape, axes)

    @classmethod
    def image(cls, shape: Shape) -> Layout | None:
        """Return the layout of a map: NHWC of NCHW, and N1LC of NCL; None for values of other ranks."""
        if len(shape) == 3:
            batch, channels, length = shape
            return cls((batch, channels, 1, length), (0, 2, 3, 1), (batch, 1, length, channels), (0, 1, 3))
        if len(shape) != 4:
            return None
        batch, channels, height, width = shape
        return cls(shape, (0, 2, 3, 1), (batch, height, width, channels), (0, 1, 2, 3))

    @property
    def value_shape(self) -> Shape:
        """Shape of the value in the file."""
        return tuple(self.split[place] for place in self.places)

    @property
    def file_shape(self) -> Shape:
        """Shape of the value in the file, of flat layouts too: those are matrices there as here."""
        return self.shape if self.is_flat else self.value_shape

    @property
    def permuted(self) -> Shape:
        """Shape after the axes were put in order."""
        return tuple(self.split[axis] for axis in self.order)

    @property
    def is_flat(self) -> bool:
        """Whether axes of the value are merged in the tensor, so that they cannot be told by number."""
        return self.shape != self.permuted

    @property
    def is_plain(self) -> bool:
        """Whether elements lie in the value's own order."""
        moved = [axis for axis in self.order if self.split[axis] != 1]
        return moved == sorted(moved)

    def axis(self, axis: int) -> int:
        """Return the tensor's axis that is the value's ``axis`` (not negative); the layout may not be flat."""
        return self.order.index(self.places[axis])

    def same_order(self, other: Layout) -> bool:
        """Say whether two tensors of one value hold its elements in the same order."""
        if self.is_plain and other.is_plain:
            return True
        return self._moves() == other._moves()

    def _moves(self) -> tuple[Shape, Shape]:
        """Return the sizes that are not 1, as the value has them, and the order in which the tensor has them."""
        real = [axis for axis, size in enumerate(self.split) if size != 1]
        return tuple(self.split[axis] for axis in real), tuple(real.index(a) for a in self.order if a in real)

    def like(self, shape: Shape) -> Layout | None:
        """Return this layout for a value of another shape and the same rank, or None where there is none."""
        if self.is_flat or len(shape) != len(self.places):
            return None
        split = [1] * len(self.split)
        for place, size in zip(self.places, shape, strict=True):
            split[place] = size
        return Layout(tuple(split), self.order, tuple(split[axis] for axis in self.order), self.places)

    def transposed(self, permutation: Shape) -> Layout | None:
        """Return the layout under which the transposed value lies in the same tensor; None for flat layouts."""
        if self.is_flat:
            return None
        axes = [self.places[axis] for axis in permutation]
        axes += [axis for axis in range(len(self.split)) if axis not in axes]
        order = tuple(axes.index(axis) for axis in self.order)
        return Layout(tuple(self.split[a] for a in axes), order, self.shape, tuple(range(len(permutation))))

    def flattened(self, rows: int, columns: int) -> Layout:
        """Return the layout of the value as a matrix in the same memory: plain where elements are in its own order."""
        if self.is_plain:
            return Layout.plain((rows, columns))
        return Layout(self.split, self.order, (rows, columns), self.places)

    def to_graph(self, value: Array) -> Array:
        """Bring a value of the file into the tensor's shape; a view where nothing moves."""
        return value.reshape(self.split).transpose(self.order).reshape(self.shape)

    def to_value(self, tensor: Array, shape: Shape) -> Array:
        """Bring a tensor's elements into the file's ``shape``; a view where nothing moves."""
        back = np.argsort(self.order)
        return tensor.reshape(self.permuted).transpose(back).reshape(shape)
