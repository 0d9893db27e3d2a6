"""What the simulator does when a command stream leaves the ground that the hardware documents cover.

Two degrees: some streams have no defined behaviour at all (they hang, or read memory that is not theirs) and are
always refused. Others run on silicon but compute something that nobody has described; recorded streams of other
people's compilers contain such defects. In strict mode these are refused too. Otherwise they are noted, and the
task's output is spoiled so that it cannot pass for a right answer (*assumed*: the published test lists only say that
the layer is wrong).
"""

from __future__ import annotations

from typing import NoReturn

from rocketnpu.errors import SimulationError


class Checks:
    """Verdicts on one task."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.defects: list[str] = []
        self.remarks: list[str] = []

    @property
    def silent(self) -> bool:
        """Whether there was nothing to say so far."""
        return not self.defects and not self.remarks

    def refuse(self, unit: str, register: str, message: str) -> NoReturn:
        """Give up: the hardware does not define this.

        Raises:
            SimulationError: always.
        """
        raise SimulationError(message, unit=unit, register=register)

    def distrust(self, unit: str, register: str, message: str) -> None:
        """Refuse in strict mode, else note that the output is wrong on silicon in a way not known.

        Raises:
            SimulationError: in strict mode.
        """
        error = SimulationError(message, unit=unit, register=register)
        if self.strict:
            raise error
        self.defects.append(str(error))

    def object(self, unit: str, register: str, message: str) -> None:
        """Refuse in strict mode, else note something odd that is not known to change results.

        Raises:
            SimulationError: in strict mode.
        """
        error = SimulationError(message, unit=unit, register=register)
        if self.strict:
            raise error
        self.remarks.append(str(error))
