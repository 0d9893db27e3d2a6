"""Several cores: as many devices, each with its own address space, working on different inferences at a time.

The mainline kernel keeps the jobs of one open file on one core, and shares no buffer between files (addendum 9.1), so a
program is placed once a core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack

from rocketnpu.closing import Closing
from rocketnpu.device.base import Buffer, Device, DeviceJob
from rocketnpu.device.executor import Array, PlacedProgram
from rocketnpu.device.one_at_a_time import turn_of
from rocketnpu.device.standing import standing_of
from rocketnpu.pipeline import Crew, Pipeline
from rocketnpu.program.program import Program

IN_FLIGHT = 2
"""Inferences at once for each core: one that computes, and one whose bytes are converted."""


class DeviceGroup(Closing):
    """Devices that stand for cores. Used as one :class:`~rocketnpu.device.base.Device`, it is its first member.

    Works from any thread, as its members do.
    """

    def __init__(self, make: Callable[[int], Device], cores: int) -> None:
        """Open ``cores`` devices; ``make`` is given each core's number.

        Raises:
            DeviceError: one cannot be opened; those that were are closed again.
        """
        with ExitStack() as opened:
            self.members: tuple[Device, ...] = tuple(opened.enter_context(make(core)) for core in range(cores))
            self._opened = opened.pop_all()
        self.name, self.chip = self.members[0].name, self.members[0].chip
        self.standing = standing_of(self.members[0])

    def turn(self) -> AbstractContextManager[None]:
        """Return the first member's turn."""
        return turn_of(self.members[0])

    def allocate(self, size: int) -> Buffer:
        """Allocate on the first member."""
        return self.members[0].allocate(size)

    def free(self, buffer: Buffer) -> None:
        """Free on the first member."""
        self.members[0].free(buffer)

    def map(self, buffer: Buffer) -> memoryview:
        """Map on the first member."""
        return self.members[0].map(buffer)

    def sync_for_device(self, buffer: Buffer) -> None:
        """Synchronise on the first member."""
        self.members[0].sync_for_device(buffer)

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        """Submit to the first member."""
        self.members[0].submit(jobs)

    def sync_for_cpu(self, buffer: Buffer, timeout: float) -> None:
        """Synchronise on the first member."""
        self.members[0].sync_for_cpu(buffer, timeout)

    def close(self) -> None:
        """Close all members. Closing twice is allowed."""
        self._opened.close()


def cores_of(device: Device) -> tuple[Device, ...]:
    """Return a device's cores: the members of a group, or the device itself."""
    return device.members if isinstance(device, DeviceGroup) else (device,)


def run_many(
    devices: Sequence[Device],
    program: Program,
    batches: Iterable[Sequence[Array]],
    *,
    in_flight: int = IN_FLIGHT,
    allow_unproven: bool = False,
) -> list[list[Array]]:
    """Run many inferences, spread over devices; return their outputs in the order of ``batches``.

    Each device has ``in_flight`` copies of the program in its memory, with a thread each: while it computes one
    inference, the next one's inputs are converted and the last one's outputs.

    Raises:
        SomeFailedError: some inferences failed; the others were made all the same, and the error has their outputs.
        DeviceError: the program cannot be placed.
    """
    with ExitStack() as stack:
        lanes = [
            stack.enter_context(PlacedProgram(device, program, allow_unproven=allow_unproven))
            for _ in range(in_flight)
            for device in devices
        ]
        crew = Crew(lanes)

        def work(inputs: Sequence[Array]) -> list[Array]:
            with crew.lend() as placed:
                return placed.run(inputs)

        return stack.enter_context(Pipeline(work, len(lanes))).gather(batches)
