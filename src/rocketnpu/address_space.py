"""Addresses of one open file, handed out in pages: by the emulated kernel, and where user space chooses them itself."""

from __future__ import annotations

PAGE = 4096
"""Granularity of addresses: PAGE_SIZE of the kernels that the drivers run in."""
LIMIT = 1 << 32
"""Command words carry 32-bit addresses, and the drivers' address spaces end there (addendum 9.1, facts 2)."""


class AddressSpace:
    """Page-aligned ranges in ``start..limit``, each in the smallest gap that fits, the lowest of equals.

    Source: rocket_gem.c inserts with ``drm_mm_insert_node_generic``, whose mode is best fit.
    """

    def __init__(self, limit: int = LIMIT, start: int = 0) -> None:
        """Start empty; ``start`` is the first address, a multiple of a page."""
        self._start, self._limit = start, limit
        self._taken: list[tuple[int, int]] = []

    def insert(self, size: int) -> int | None:
        """Take a range of ``size`` bytes and return its address; None where no gap fits."""
        best: tuple[int, int] | None = None
        start = self._start
        for low, high in [*self._taken, (self._limit, self._limit)]:
            room = low - start
            if room >= size and (best is None or room < best[0]):
                best = (room, start)
            start = -(-high // PAGE) * PAGE
        if best is None:
            return None
        self._taken.append((best[1], best[1] + size))
        self._taken.sort()
        return best[1]

    def remove(self, address: int) -> None:
        """Give the range that starts at ``address`` back.

        Raises:
            KeyError: none starts there.
        """
        for place, (low, _) in enumerate(self._taken):
            if low == address:
                del self._taken[place]
                return
        raise KeyError(address)
