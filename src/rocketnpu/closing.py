"""Things that own something, and give it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import NoReturn, Self

SIGNAL_STATUS = 128
"""A shell's exit status for a program that a signal ended, less the signal."""


class Closing(ABC):
    """A context manager that closes itself at its end."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is owned. Closing twice is allowed."""

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, whatever happened."""
        self.close()


def end_in_order(number: int, _frame: object) -> NoReturn:
    """Handle a signal by leaving every ``with`` on the way out; a shell's exit status tells the signal."""
    raise SystemExit(SIGNAL_STATUS + number)
