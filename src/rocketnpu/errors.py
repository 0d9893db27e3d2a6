"""Every error this package raises on purpose.

Each says what happened, where, why, and what to try. The tree::

    RocketError                 anything below; the command line turns it into one line and exit status 2
    +-- ModelError              the model is broken, or is not a model at all (the file's fault)
    +-- UnsupportedError        the model is fine, but the NPU cannot run what was asked for
    +-- InputError              a picture, labels file or tensor given by the user does not fit
    +-- ProgramError            a saved program is damaged, or of another format version
    +-- FetchError              a model could not be obtained from any of its sources
    +-- RegisterFieldError      a value does not fit its register field (a fault of the compiler)
    +-- RefusedError            a server does not answer a request as it was meant (serving/refusal.py)
    +-- CommandError            a command text or a command word cannot be read
    +-- SimulationError         a command stream does what the hardware does not define
    +-- SomeFailedError         some of many inferences failed; it has the others' results
    +-- DeviceError             a device or its driver refused or failed
        +-- BoardUnavailableError  this machine cannot make or run the virtual board
        +-- StartRefusedError   a task is not started by itself, because that may hang a board
        +-- DeviceTimeoutError  a job did not finish in time
            +-- JobFailedError  with the task, its registers and a bundle (device/failure.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class RocketError(Exception):
    """Base of all errors of this package."""


class ModelError(RocketError):
    """The model file or host graph is malformed."""


class UnsupportedError(RocketError):
    """The model is valid, but cannot be run on the NPU as asked."""


class InputError(RocketError):
    """A file or tensor that the user gave does not fit the model."""


class ProgramError(RocketError):
    """A saved program cannot be loaded."""


class FetchError(RocketError):
    """A model could not be obtained from any source."""


class RegisterFieldError(RocketError):
    """A value does not fit a register field."""

    def __init__(self, unit: str, register: str, field: str, value: int, width: int, signed: bool) -> None:
        """Keep unit, register, field, value and width (bits) for callers that add the operator."""
        self.unit, self.register, self.field, self.value, self.width = unit, register, field, value, width
        low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
        super().__init__(
            f"{unit}.{register}.{field}: value {value!r} does not fit {width} bits "
            f"({'signed' if signed else 'unsigned'}, {low}..{high})"
        )


class CommandError(RocketError):
    """A command text or a command word cannot be read."""


class SimulationError(RocketError):
    """The command stream asks for something that the hardware does not define.

    Attributes:
        task: index of the task within its submission, or None if not known yet.
        unit: hardware block ("PC", "CNA", ...).
        register: register concerned, or "" where no single one is to blame.
    """

    def __init__(self, message: str, *, unit: str, register: str = "", task: int | None = None) -> None:
        """Compose ``task N, UNIT.REGISTER: message``."""
        self.message, self.unit, self.register, self.task = message, unit, register, task
        place = unit + (f".{register}" if register else "")
        super().__init__(f"{f'task {task}, ' if task is not None else ''}{place}: {message}")

    def at_task(self, task: int) -> SimulationError:
        """Return the same error with the task's index filled in."""
        return SimulationError(self.message, unit=self.unit, register=self.register, task=task)


class SomeFailedError(RocketError):
    """Some of many inferences failed; the others were made all the same.

    Attributes:
        outcomes: for each, in order, its result or its error.
        failed: numbers of those that failed, from 0.
    """

    def __init__(self, outcomes: Sequence[Any]) -> None:
        """Say how many failed, and why the first did."""
        self.outcomes = tuple(outcomes)
        self.failed = tuple(i for i, outcome in enumerate(self.outcomes) if isinstance(outcome, RocketError))
        first = self.failed[0]
        super().__init__(
            f"{len(self.failed)} of {len(self.outcomes)} failed; the first is number {first}: {self.outcomes[first]}"
        )


class DeviceError(RocketError):
    """A device or its driver refused or failed."""


class BoardUnavailableError(DeviceError):
    """This machine cannot make or run the virtual board; the message says what it lacks."""


class DeviceTimeoutError(DeviceError):
    """A job did not finish in time."""


class StartRefusedError(DeviceError):
    """A task is not started by itself, because that may hang a board for good."""
