"""The description inside a program's file, read as what it is: text that anybody may have written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from rocketnpu.errors import ProgramError
from rocketnpu.graph import DType
from rocketnpu.program.layout import KINDS, FeatureLayout
from rocketnpu.program.program import Binding, ProgramJob, ProgramTask, Role

ADDRESSES = 1 << 32
"""Addresses of every chip's memory; no size or offset reaches them."""
MAX_TEXT = 1 << 16
MAX_ITEMS = 1 << 22
MAX_MACS = 1 << 62
Entry = tuple[str, Role, int, int]
"""A buffer's name, role, size, and bytes of its content in the file."""


def number(value: Any, what: str, limit: int = ADDRESSES, low: int = 0) -> int:
    """Return a whole number from ``low`` to less than ``limit``.

    Raises:
        ProgramError: it is none, or outside.
    """
    if type(value) is not int or not low <= value < limit:
        raise ProgramError(f"damaged: {what} is {value!r:.40}, it is a whole number from {low} to less than {limit}")
    return value


def text(value: Any, what: str) -> str:
    """Return a text.

    Raises:
        ProgramError: it is none, or longer than any name.
    """
    if type(value) is not str or len(value) > MAX_TEXT:
        raise ProgramError(f"damaged: {what} is {value!r:.40}, it is a text of at most {MAX_TEXT} letters")
    return value


def items(value: Any, what: str, count: int | None = None) -> list[Any]:
    """Return a list, of ``count`` items if that is given.

    Raises:
        ProgramError: it is none, or of another length.
    """
    if type(value) is not list or len(value) > MAX_ITEMS or count not in (None, len(value)):
        raise ProgramError(f"damaged: {what} is {value!r:.40}, it is a list{'' if count is None else f' of {count}'}")
    return value


def member(value: Any, key: str) -> Any:
    """Return what an object holds under a name.

    Raises:
        ProgramError: it is no object, or has no such name.
    """
    if type(value) is not dict or key not in value:
        raise ProgramError(f"damaged: {key!r} is missing in {value!r:.40}")
    return value[key]


def texts(value: Any, what: str) -> tuple[str, ...]:
    """Return a list of texts.

    Raises:
        ProgramError: it is none.
    """
    return tuple(text(item, what) for item in items(value, what))


def entries(header: Any) -> list[Entry]:
    """Return what is said of the buffers.

    Raises:
        ProgramError: a value is not what it should be.
    """
    found = []
    for item in items(member(header, "buffers"), "the list of buffers"):
        name, role, size, length = items(item, "a buffer", 4)
        if role not in _ROLES:
            raise ProgramError(f"damaged: a buffer's role is {role!r:.40}")
        size = number(size, "a buffer's size", low=1)
        entry = (text(name, "a buffer's name"), Role(role), size, number(length, "a buffer's content", size + 1))
        found.append(entry)
    return found


_ROLES = [role.value for role in Role]


def job(value: Any) -> ProgramJob:
    """Return a job.

    Raises:
        ProgramError: a value is not what it should be.
    """
    tasks = tuple(_task(item) for item in items(member(value, "tasks"), "the tasks of a job"))
    if not tasks:
        raise ProgramError("damaged: a job without tasks")
    reads, writes = (_numbers(member(value, key), f"what a job {key}") for key in ("reads", "writes"))
    buffer, offset, size = _numbers(items(member(value, "sentinel"), "a sentinel", 3), "a sentinel")
    return ProgramJob(tasks, reads, writes, (buffer, offset, size))


def _task(value: Any) -> ProgramTask:
    offset, words, kind, operator, label, macs = items(value, "a task", 6)
    return ProgramTask(
        number(offset, "a task's offset"),
        number(words, "a task's length", low=1),
        number(kind, "a task's kind"),
        number(operator, "a task's operator"),
        text(label, "a task's label"),
        number(macs, "a task's size", MAX_MACS),
    )


def _numbers(value: Any, what: str) -> tuple[int, ...]:
    return tuple(number(item, what) for item in items(value, what))


def binding(value: Any) -> Binding:
    """Return the place of a tensor.

    Raises:
        ProgramError: a value is not what it should be.
    """
    name, kind = text(member(value, "name"), "a tensor's name"), member(value, "dtype")
    if kind not in _BYTES:
        raise ProgramError(f"damaged: tensor {name!r:.40} has the element type {kind!r:.40}")
    shape = _numbers(member(value, "shape"), "a tensor's shape")
    place = _layout(member(value, "layout"))
    return Binding(
        number(member(value, "tensor"), "a tensor's number"),
        name,
        shape,
        DType(kind),
        number(member(value, "buffer"), "a tensor's buffer"),
        place,
    )


_BYTES: Sequence[str] = (DType.INT8.value, DType.UINT8.value)


def _layout(value: Any) -> FeatureLayout:
    kind = member(value, "kind")
    if type(kind) is not str or kind not in KINDS:
        raise ProgramError(f"damaged: a layout is of the kind {kind!r:.40}")
    found: dict[str, Any] = {}
    for field in fields(KINDS[kind]):
        given, what = member(value, field.name), f"a layout's {field.name}"
        if field.type in ("bool", bool):
            if type(given) is not bool:
                raise ProgramError(f"damaged: {what} is {given!r:.40}, it is true or false")
            found[field.name] = given
        else:
            found[field.name] = number(given, what)
    if len(value) != len(found) + 1:
        raise ProgramError(f"damaged: a layout has values that no {kind} has")
    return KINDS[kind](**found)
