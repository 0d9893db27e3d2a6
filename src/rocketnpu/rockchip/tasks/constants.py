"""The pool of constants: weights, biases and tables of a program, one after another in one region."""

from __future__ import annotations

from rocketnpu.rockchip.tasks.feature import Location

REGION = "constants"
ALIGNMENT = 64
"""Bytes; the hardware asks for 16 (TRM), a whole cache line costs nothing."""
SLACK = 64
"""Bytes behind the last constant: the chip may fetch a little more than it uses (spec 10.2, item 11)."""


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
