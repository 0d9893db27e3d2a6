"""Tensors of a request and of its answer: as JSON, or as bytes behind it (the binary tensor data extension)."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.serving.refusal import malformed
from rocketnpu.serving.signature import Port

Array = npt.NDArray[Any]
_KINDS: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}
"""What JSON may give for an element type of one of NumPy's kinds."""
_MOST_SHOWN = 64


def shown(value: object) -> str:
    """Return a stranger's value for a message: short, and printable."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def whole_number(value: object, what: str) -> int:
    """Return a JSON value as a whole number from 0.

    Raises:
        RefusedError: it is none; true and false are none either.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise malformed(f"{what} is {shown(value)}, not a whole number from 0")
    return value


def batch_of(port: Port, asked: dict[str, Any], *, batched: bool) -> int:
    """Check an input's type and shape, and return how many inferences it is for.

    Raises:
        RefusedError: it is not what the model takes.
    """
    if asked.get("datatype") != port.datatype:
        raise malformed(f"input {port.name!r} is {port.datatype}, given is {shown(asked.get('datatype'))}")
    shape = asked.get("shape")
    if not isinstance(shape, list) or len(shape) != len(port.shape):
        raise malformed(f"input {port.name!r} has the shape {list(port.shape)}, given is {shown(shape)}")
    sizes = tuple(whole_number(size, f"a size of input {port.name!r}") for size in shape)
    if batched and sizes[1:] == port.shape[1:] and sizes[0]:
        return sizes[0]
    if sizes != port.shape:
        raise malformed(f"input {port.name!r} has the shape {list(port.shape)}, given is {shown(shape)}")
    return 1


def from_bytes(port: Port, data: memoryview, batch: int) -> Array:
    """Read an input's elements from bytes, as ``(batch, elements of one inference)``.

    Raises:
        RefusedError: there are too few or too many of them, or they are no such elements.
    """
    wanted = batch * port.elements * port.dtype.itemsize
    if len(data) != wanted:
        raise malformed(f"input {port.name!r} has {len(data)} bytes, and its shape and type make {wanted}")
    values = np.frombuffer(data, port.dtype)
    if port.dtype.kind == "b" and (np.frombuffer(data, np.uint8) > 1).any():
        raise malformed(f"input {port.name!r} has a BOOL that is neither 0 nor 1")
    return _finite(port, values).reshape(batch, -1)


def from_json(port: Port, data: object, batch: int) -> Array:
    """Read an input's elements from a list, nested or flat, as ``(batch, elements of one inference)``.

    Raises:
        RefusedError: they are not as many as the shape says, of another type, or out of its range.
    """
    if not isinstance(data, list):
        raise malformed(f"input {port.name!r} has no list as its data")
    flat = _flat(port, data)
    if len(flat) != batch * port.elements:
        raise malformed(f"input {port.name!r} has {len(flat)} elements, and its shape makes {batch * port.elements}")
    if not _KINDS[port.dtype.kind].issuperset(map(type, flat)):
        raise malformed(f"the data of input {port.name!r} are not {port.datatype}")
    if port.dtype.kind in "iu":
        limits = np.iinfo(port.dtype)
        if min(flat) < limits.min or max(flat) > limits.max:
            raise malformed(f"the data of input {port.name!r} are not within {port.datatype}")
    try:
        with np.errstate(over="ignore"):
            values = np.array(flat, port.dtype)
    except OverflowError:  # a whole number that no real number of the machine reaches
        raise malformed(f"the data of input {port.name!r} are not within {port.datatype}") from None
    return _finite(port, values).reshape(batch, -1)


def _flat(port: Port, data: list[Any]) -> list[Any]:
    """Take lists apart until there is one; NumPy would make room for as many of the longest word among them."""
    while data and all(isinstance(one, list) for one in data):
        if len(set(map(len, data))) > 1:
            raise malformed(f"the data of input {port.name!r} are no even list of numbers")
        data = list(chain.from_iterable(data))
    return data


def _finite(port: Port, values: Array) -> Array:
    """Refuse what no integer stands for."""
    if port.dtype.kind == "f" and not np.isfinite(values).all():
        raise malformed(f"input {port.name!r} has values that are not finite")
    return values


def to_json(port: Port, values: Array) -> list[Any]:
    """Return an output's elements as a flat list.

    Raises:
        RefusedError: JSON has no word for one of them.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise malformed(f"output {port.name!r} has values that are not finite, which JSON lacks: ask for binary data")
    found: list[Any] = values.reshape(-1).tolist()
    return found


def to_bytes(port: Port, values: Array) -> bytes:
    """Return an output's elements as the protocol sends them."""
    return np.ascontiguousarray(values, port.dtype).tobytes()


def read_json(data: bytes | memoryview) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RefusedError: it is none.
    """
    try:
        found = json.loads(bytes(data), parse_constant=_no_number)
    except (ValueError, RecursionError):  # the parser itself counts how deep it is
        raise malformed("the request is no JSON object") from None
    if not isinstance(found, dict):
        raise malformed("the request is no JSON object")
    return found


def _no_number(text: str) -> float:
    raise ValueError(text)
