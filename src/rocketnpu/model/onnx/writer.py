"""Writes the graph: tensors for the model's values in the layouts in which operators want them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import ModelError
from rocketnpu.graph import DType, Operator, Quantisation, Tensor
from rocketnpu.graph.checks import check_operator
from rocketnpu.graph.operators import Attributes, NoAttributes
from rocketnpu.model.onnx.expand import plain_name
from rocketnpu.model.onnx.layout import Layout
from rocketnpu.model.onnx.step import NotTakenError, Source, Target
from rocketnpu.model.onnx.values import Values

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Port:
    """The value of the file that a tensor of the graph holds, and how it lies there."""

    value: str
    layout: Layout


@dataclass
class Writer:
    """Collects tensors and operators. What one node adds is taken back if the node cannot be expressed."""

    values: Values
    tensors: dict[int, Tensor] = field(default_factory=dict)
    operators: list[Operator] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    """For each operator the number of the node that it was written for."""
    ports: dict[int, Port] = field(default_factory=dict)
    """By tensor number, for tensors that hold a value of the file."""
    homes: dict[str, int] = field(default_factory=dict)
    """The first tensor of each value."""
    views: dict[tuple[Any, ...], int] = field(default_factory=dict)
    node: int = 0
    """Number of the node at work."""
    _journal: list[tuple[dict[Any, int], Any]] = field(default_factory=list)

    def mark(self) -> tuple[int, int, int]:
        """Return a mark for :meth:`back`."""
        return len(self.tensors), len(self.operators), len(self._journal)

    def back(self, mark: tuple[int, int, int]) -> None:
        """Take back everything that was added since a mark."""
        for number in range(mark[0], len(self.tensors)):
            del self.tensors[number]
            self.ports.pop(number, None)
        del self.operators[mark[1] :]
        del self.origins[mark[1] :]
        for table, key in self._journal[mark[2] :]:
            table.pop(key, None)
        del self._journal[mark[2] :]

    def add(
        self,
        name: str,
        shape: Shape,
        dtype: DType,
        quantisation: Quantisation | None = None,
        data: Array | None = None,
        *,
        is_dynamic: bool = False,
    ) -> int:
        """Add a tensor that holds no value of the file by itself, and return its number."""
        number = len(self.tensors)
        if data is not None:
            data = np.ascontiguousarray(data).reshape(shape)
            data.flags.writeable = False
        self.tensors[number] = Tensor(number, plain_name(name), shape, dtype, quantisation, data, is_dynamic=is_dynamic)
        return number

    def integers(self, name: str, numbers: Sequence[int] | Sequence[tuple[int, int]]) -> int:
        """Add a constant of whole numbers, such as axes."""
        array = np.asarray(numbers, np.int32)
        return self.add(name, array.shape, DType.INT32, None, array)

    def value(
        self,
        name: str,
        layout: Layout,
        dtype: DType,
        quantisation: Quantisation | None = None,
        *,
        dynamic: bool = False,
    ) -> int:
        """Add a tensor that holds a value of the file."""
        number = self.add(name, layout.shape, dtype, quantisation, is_dynamic=dynamic)
        self.ports[number] = Port(name, layout)
        if name not in self.homes:
            self.homes[name] = number
            self._journal.append((self.homes, name))
        self.views[name, layout] = number
        self._journal.append((self.views, (name, layout)))
        return number

    def result(self, target: Target, layout: Layout) -> int:
        """Add the tensor that a step writes.

        Raises:
            NotTakenError: the file says that the value has another shape, or its scales are per channel.
        """
        known = self.values.shapes.get(target.name)
        if known is not None and not layout.is_flat and layout.value_shape != known:
            raise NotTakenError(f"its result has shape {known}, its inputs make {layout.value_shape}")
        if target.quantisation.is_per_channel:
            raise NotTakenError("its result has several scales")
        return self.value(target.name, layout, target.dtype, target.quantisation)

    def home(self, source: Source) -> tuple[int, Layout]:
        """Return the tensor in which a variable value was made, and its layout.

        Raises:
            NotTakenError: nobody made it.
        """
        number = self.homes.get(source.name)
        if number is None:
            raise NotTakenError(f"nothing makes {plain_name(source.name)!r}")
        tensor = self.tensors[number]
        if tensor.is_dynamic:
            raise NotTakenError(f"the shape of {plain_name(source.name)!r} is known at run time only")
        self._check_scale(source, tensor)
        return number, self.ports[number].layout

    def read(self, source: Source, layout: Layout) -> int:
        """Return a tensor that holds a variable value in a layout; TRANSPOSE brings it there where it lies otherwise.

        Raises:
            NotTakenError: nobody made it.
        """
        home, own = self.home(source)
        return self.moved(home, own, layout)

    def moved(self, number: int, own: Layout, layout: Layout) -> int:
        """Return a tensor's value in another layout."""
        name = self.ports[number].value
        found = self.views.get((name, layout))
        if found is not None:
            return found
        tensor = self.tensors[number]
        if own.same_order(layout):
            target = self.value(name, layout, tensor.dtype, tensor.quantisation)
            self.operator("RESHAPE", [number, self.integers(f"shape of {name}", layout.shape)], [target])
            return target
        if [size for size in own.split if size != 1] != [size for size in layout.split if size != 1]:
            return self._over_plain(number, own, layout)
        if own.split == layout.split and not own.is_flat and not layout.is_flat:
            target = self.value(name, layout, tensor.dtype, tensor.quantisation)
            order = tuple(own.order.index(axis) for axis in layout.order)
            self.operator("TRANSPOSE", [number, self.integers(f"order of {name}", order)], [target])
            return target
        start, order = self._unflattened(number, own), _order(own, layout)
        shape = tuple(self.tensors[start].shape[axis] for axis in order)
        between = self.add(name, shape, tensor.dtype, tensor.quantisation)
        self.operator("TRANSPOSE", [start, self.integers(f"order of {name}", order)], [between])
        target = self.value(name, layout, tensor.dtype, tensor.quantisation)
        self.operator("RESHAPE", [between, self.integers(f"shape of {name}", layout.shape)], [target])
        return target

    def _over_plain(self, number: int, own: Layout, layout: Layout) -> int:
        """Move between layouts that split the value's axes differently: its own order lies between."""
        for one in (own, layout):
            ordered = Layout(one.split, tuple(range(len(one.split))), one.split, one.places)
            if not one.is_plain:
                middle = self.moved(number, own, ordered)
                return self.moved(middle, ordered, layout)
        raise NotTakenError(f"{plain_name(self.ports[number].value)!r} is seen in shapes that do not fit each other")

    def _unflattened(self, number: int, own: Layout) -> int:
        """Return a tensor with one axis for each that is not of size 1."""
        shape = tuple(size for size in own.permuted if size != 1) or (1,)
        if self.tensors[number].shape == shape:
            return number
        tensor = self.tensors[number]
        target = self.add(tensor.name, shape, tensor.dtype, tensor.quantisation)
        self.operator("RESHAPE", [number, self.integers(f"shape of {tensor.name}", shape)], [target])
        return target

    def constant(self, source: Source, layout_data: Array, dtype: DType, axis: int = 0) -> int:
        """Add a constant with a source's scale: the same numbers as ``dtype``, its scales along ``axis``.

        Raises:
            NotTakenError: it has no scale, or other values than bytes of that type.
        """
        quantisation = source.quantisation
        if quantisation is None:
            raise NotTakenError(f"{plain_name(source.name)!r} is constant, and not quantised")
        data, zero_points = as_type(layout_data, quantisation.zero_points, dtype)
        return self.add(source.name, data.shape, dtype, Quantisation(quantisation.scales, zero_points, axis), data)

    def operator(
        self,
        kind: str,
        inputs: Sequence[int | None],
        outputs: Sequence[int],
        attributes: Attributes = NoAttributes(),  # noqa: B008
    ) -> None:
        """Add an operator.

        Raises:
            NotTakenError: it does not fit its tensors.
        """
        operator = Operator(len(self.operators), kind, tuple(inputs), tuple(outputs), attributes)
        try:
            check_operator(operator, self.tensors)
        except ModelError as error:
            raise NotTakenError(str(error)) from None
        self.operators.append(operator)
        self.origins.append(self.node)

    def _check_scale(self, source: Source, tensor: Tensor) -> None:
        if source.quantisation is not None and not source.quantisation.same_as(tensor.quantisation):
            raise NotTakenError(f"{tensor.name!r} is read with another scale than it was written with")


def as_type(data: Array, zero_points: Array, dtype: DType) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return the same real numbers as bytes of the other type, where the types differ: UINT8 less 128 is INT8.

    Raises:
        NotTakenError: the elements are no bytes.
    """
    if data.dtype.name == dtype.value:
        return data, zero_points
    if data.dtype.name not in ("int8", "uint8") or dtype not in (DType.INT8, DType.UINT8):
        raise NotTakenError(f"a constant of {data.dtype.name} beside bytes of {dtype.value}")
    turned = (data.view(np.uint8) ^ np.uint8(0x80)).view(dtype.value)
    return turned, zero_points + (128 if dtype is DType.UINT8 else -128)


def _order(own: Layout, layout: Layout) -> Shape:
    """Return the transposition between two layouts of the same axes, those of size 1 left out."""
    mine = [axis for axis in own.order if own.split[axis] != 1]
    theirs = [axis for axis in layout.order if layout.split[axis] != 1]
    ranks_mine = {axis: rank for rank, axis in enumerate(sorted(mine))}
    ranks_theirs = {axis: rank for rank, axis in enumerate(sorted(theirs))}
    places = [ranks_mine[axis] for axis in mine]
    return tuple(places.index(ranks_theirs[axis]) for axis in theirs)
