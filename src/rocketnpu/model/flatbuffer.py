"""Hold every offset, vector and string of a TFLite flatbuffer against the file before anything trusts it.

The flatbuffer library follows any offset, even to before the file's start, so that a damaged file could be read as a
sound one with other contents. This module checks what FlatBuffers' own C++ verifier checks (bounds, alignment, vtables,
terminated strings, depth), and that each field lies in its table. The layout is not written down here: the accessors of
the generated schema are asked, once a table, by running them on a spy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from rocketnpu.errors import ModelError
from rocketnpu.third_party import tflite_schema as schema

_MAX_DEPTH = 64
"""Nested tables that FlatBuffers' verifier allows."""
_UNIONS = {"Details": "QuantizationDetails", "ArraySegments": "SparseIndexVector", "ArrayIndices": "SparseIndexVector"}
"""Union fields whose enumeration has another name than the field."""


class _Kind(Enum):
    SCALAR = "scalar"
    STRING = "string"
    TABLE = "table"
    UNION = "union"
    SCALARS = "vector of scalars"
    STRINGS = "vector of strings"
    TABLES = "vector of tables"


@dataclass(frozen=True)
class Slot:
    """One field of a table: its place in the vtable (bytes), what it holds, bytes of a scalar, class of a table."""

    name: str
    place: int
    kind: _Kind
    width: int = 4
    target: Any = None


class _Spy:
    """Stands for a flatbuffer table and notes what an accessor asks of it."""

    Bytes, Pos = b"", 0

    def __init__(self) -> None:
        self.place = self.width = 0
        self.asked: set[str] = set()

    def Offset(self, place: int) -> int:  # noqa: N802 - the flatbuffer library's names, here and below
        self.place = place
        return 1

    def Vector(self, _: int) -> int:  # noqa: N802
        self.asked.add("vector")
        return 0

    def Indirect(self, _: int) -> int:  # noqa: N802
        self.asked.add("table")
        return 0

    def String(self, _: int) -> bytes:  # noqa: N802
        self.asked.add("string")
        return b""

    def Union(self, *_: Any) -> None:  # noqa: N802
        self.asked.add("union")

    def Get(self, flags: Any, _: int) -> int:  # noqa: N802
        self.width = flags.bytewidth
        return 0


@cache
def slots(table: Any) -> tuple[Slot, ...]:
    """List the fields of a generated table class, in the order of the vtable."""
    found = {}
    for name, accessor in vars(table).items():
        derived = name.endswith(("Length", "AsNumpy", "IsNone"))
        if name == "Init" or name.startswith("_") or isinstance(accessor, classmethod | staticmethod):
            continue
        if derived and name.removesuffix("Length").removesuffix("AsNumpy").removesuffix("IsNone") in vars(table):
            continue
        slot = _ask(table, name, accessor.__code__.co_argcount)
        found[slot.place] = slot
    return tuple(found[place] for place in sorted(found))


def _ask(table: Any, name: str, arguments: int) -> Slot:
    spy, instance = _Spy(), table()
    instance._tab = spy
    result = getattr(instance, name)(*[0] * (arguments - 1))
    vector = "vector" in spy.asked
    if "union" in spy.asked:
        return Slot(name, spy.place, _Kind.UNION, target=_UNIONS.get(name, name))
    if "table" in spy.asked:
        return Slot(name, spy.place, _Kind.TABLES if vector else _Kind.TABLE, target=type(result))
    if "string" in spy.asked:
        return Slot(name, spy.place, _Kind.STRINGS if vector else _Kind.STRING)
    return Slot(name, spy.place, _Kind.SCALARS if vector else _Kind.SCALAR, spy.width)


def check(data: bytes) -> None:
    """Check the whole file, from its root table down.

    The work is bounded by the file's size: what is shared by several owners is walked once.

    Raises:
        ModelError: something lies outside the file or is misaligned; the message names table and field.
    """
    walker = _Walker(data)
    pending: list[tuple[Any, int, int]] = [(schema.Model, walker.target(0, "the root"), 0)]
    while pending:
        table, position, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise ModelError(f"tables are nested more than {_MAX_DEPTH} deep")
        pending.extend((*child, depth + 1) for child in walker.table(table, position))


class _Walker:
    """Checks tables one by one; positions are bytes from the file's start."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.seen: set[tuple[Any, int]] = set()

    def table(self, table: Any, position: int) -> Iterator[tuple[Any, int]]:
        """Check one table and yield the tables it refers to, with their positions."""
        if (table, position) in self.seen:
            return
        self.seen.add((table, position))
        name = table.__name__
        vtable = position - self.number("<i", position, 4, name)
        length = self.number("<H", vtable, 2, f"the vtable of {name}")
        size = self.number("<H", vtable + 2, 2, f"the vtable of {name}")
        if length < 4 or length % 2 or size < 4:
            raise ModelError(f"the vtable of {name} at byte {vtable} has lengths {length} and {size}")
        self.span(vtable, length, 2, f"the vtable of {name}")
        self.span(position, size, 4, name)
        offsets = struct.unpack_from(f"<{length // 2}H", self.data, vtable)
        for slot in slots(table):
            offset = offsets[slot.place // 2] if slot.place < length else 0
            if offset:
                place = f"{name}.{slot.name}"
                if offset + slot.width > size and slot.kind is _Kind.SCALAR:
                    raise ModelError(f"{place} lies outside its table")
                yield from self.field(slot, position, position + offset, offsets, place)

    def field(
        self, slot: Slot, table: int, position: int, offsets: tuple[int, ...], place: str
    ) -> Iterator[tuple[Any, int]]:
        """Check one field that is present."""
        if slot.kind is _Kind.SCALAR:
            self.span(position, slot.width, slot.width, place)
            return
        target = self.target(position, place)
        if slot.kind is _Kind.TABLE:
            yield slot.target, target
        elif slot.kind is _Kind.UNION:
            yield from self.union(slot, table, target, offsets, place)
        elif slot.kind is _Kind.STRING:
            self.string(target, place)
        elif slot.kind is _Kind.SCALARS:
            self.vector(target, slot.width, place)
        else:
            yield from self.references(slot, target, place)

    def union(
        self, slot: Slot, table: int, target: int, offsets: tuple[int, ...], place: str
    ) -> Iterator[tuple[Any, int]]:
        """Find a union's table by its type, which the field before it holds."""
        kind_offset = offsets[slot.place // 2 - 1]
        number = self.number("<B", table + kind_offset, 1, f"{place}'s type") if kind_offset else 0
        members = {value: key for key, value in vars(getattr(schema, slot.target)).items() if not key.startswith("_")}
        if number not in members:
            raise ModelError(f"{place} has unknown type {number}")
        if number:
            yield getattr(schema, members[number]), target

    def references(self, slot: Slot, target: int, place: str) -> Iterator[tuple[Any, int]]:
        """Check a vector of strings or tables."""
        if ((slot.target, slot.kind), target) in self.seen:
            return
        self.seen.add(((slot.target, slot.kind), target))
        for index in range(self.vector(target, 4, place)):
            item = self.target(target + 4 + 4 * index, place)
            if slot.kind is _Kind.STRINGS:
                self.string(item, place)
            else:
                yield slot.target, item

    def vector(self, position: int, width: int, place: str) -> int:
        """Check a vector's extent and alignment and return its length."""
        length = self.number("<I", position, 4, place)
        self.span(position + 4, length * width, width, place)
        return length

    def string(self, position: int, place: str) -> None:
        """Check a string's extent and that it ends in a zero byte."""
        end = position + 4 + self.vector(position, 1, place)
        if end >= len(self.data) or self.data[end]:
            raise ModelError(f"{place}: the text at byte {position} does not end in a zero byte")

    def target(self, position: int, place: str) -> int:
        """Follow the offset at ``position``."""
        offset = self.number("<I", position, 4, place)
        if not offset:
            raise ModelError(f"{place}: the offset at byte {position} points to itself")
        return position + offset

    def number(self, layout: str, position: int, width: int, place: str) -> int:
        """Read an integer after checking that it lies, aligned, in the file."""
        self.span(position, width, width, place)
        return int(struct.unpack_from(layout, self.data, position)[0])

    def span(self, position: int, size: int, alignment: int, place: str) -> None:
        """Check that ``size`` bytes from ``position`` are in the file, and its alignment."""
        if position < 0 or position + size > len(self.data):
            raise ModelError(f"{place}: bytes {position}..{position + size} are outside the file of {len(self.data)}")
        if position % alignment:
            raise ModelError(f"{place}: byte {position} is not a multiple of {alignment}")
