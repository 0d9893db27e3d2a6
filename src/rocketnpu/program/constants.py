"""Places in regions of memory that have no address yet, and the pool of a program's constants."""

from __future__ import annotations

from dataclasses import dataclass

REGION = "constants"
ALIGNMENT = 64
"""Bytes; a whole cache line, and what a VeriSilicon NPU asks of coefficients."""
SLACK = 64
"""Bytes behind the last constant: a chip may fetch a little more than it uses."""


@dataclass(frozen=True, slots=True)
class Location:
    """A byte inside a region."""

    region: str
    offset: int = 0

    def __add__(self, distance: int) -> Location:
        return Location(self.region, self.offset + distance)

    def __str__(self) -> str:
        return f"{self.region}+0x{self.offset:x}" if self.offset else self.region


class ConstantPool:
    """Collects constants; equal ones are stored once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._known: dict[bytes, Location] = {}

    def add(self, data: bytes) -> Location:
        """Store ``data`` and return where."""
        if data not in self._known:
            self._known[data] = Location(REGION, self._size)
            padded = -(-len(data) // ALIGNMENT) * ALIGNMENT
            self._parts.append(data.ljust(padded, b"\0"))
            self._size += padded
        return self._known[data]

    def content(self) -> bytes:
        """Return all constants as the bytes of their region."""
        return b"".join(self._parts) + bytes(SLACK)
