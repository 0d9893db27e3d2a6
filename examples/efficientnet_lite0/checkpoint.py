"""Read the tensors of a PyTorch checkpoint with NumPy alone.

Knows the format of PyTorch before 1.6: three pickles (magic number, protocol, machine), the pickled dictionary whose
tensors refer to storages by key, the pickled list of keys, and then each storage's number of elements and bytes. A
pickle can call anything that it names, so only the few names that a dictionary of tensors needs are admitted.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    elements: int


@dataclass(frozen=True)
class _View:
    """A tensor: where it begins in its storage, its shape, and its steps in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, values: Array) -> Array:
        """Return the tensor as an array of its own."""
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        if min(self.shape, default=1) < 1 or min(self.strides, default=0) < 0 or not 0 <= last < values.size:
            raise pickle.UnpicklingError(f"a tensor of shape {self.shape} lies outside its storage")
        steps = tuple(step * values.itemsize for step in self.strides)
        return np.array(np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps))


class _Reader(pickle.Unpickler):
    """Builds dictionaries and views, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for."""
        admitted: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, strides, *_: _View(
                storage, offset, tuple(shape), tuple(strides)
            ),
        }
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(
                f"the checkpoint names {module}.{name}, which a dictionary of tensors does not"
            )
        return admitted[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that a tensor refers to."""
        _, dtype, key, _, elements, view = pid
        if view is not None:
            raise pickle.UnpicklingError(f"storage {key} is part of another")
        return _Storage(key, dtype, elements)


def read_checkpoint(path: Path) -> dict[str, Array]:
    """Return the tensors of a checkpoint by name.

    Raises:
        pickle.UnpicklingError: the file is no such checkpoint, or is damaged.
    """
    with path.open("rb") as stream:
        if _Reader(stream).load() != MAGIC_NUMBER or _Reader(stream).load() != PROTOCOL:
            raise pickle.UnpicklingError(f"{path} is not a checkpoint of PyTorch before 1.6")
        if not _Reader(stream).load().get("little_endian"):
            raise pickle.UnpicklingError(f"{path} is not little-endian")
        views = _Reader(stream).load()
        storages = {view.storage.key: view.storage for view in views.values()}
        values = {key: _read_storage(stream, storages[key]) for key in _Reader(stream).load()}
    return {name: view.of(values[view.storage.key]) for name, view in views.items()}


def _read_storage(stream: BinaryIO, storage: _Storage) -> Array:
    stored = int.from_bytes(stream.read(8), "little")
    data = stream.read(storage.elements * storage.dtype.itemsize)
    if stored != storage.elements or len(data) != storage.elements * storage.dtype.itemsize:
        raise pickle.UnpicklingError(f"storage {storage.key} has {stored} elements, expected {storage.elements}")
    return np.frombuffer(data, storage.dtype)
