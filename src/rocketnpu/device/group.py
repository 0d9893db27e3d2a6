"""Several cores: as many devices, each with its own address space, working on different inferences at a time.

The mainline kernel keeps the jobs of one open file on one core, and shares no buffer between files (addendum 9.1), so a
program is placed once a core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from rocketnpu.closing import Closing
from rocketnpu.device.base import Buffer, Device, DeviceJob
from rocketnpu.device.executor import Array, PlacedProgram
from rocketnpu.device.standing import standing_of
from rocketnpu.program.program import Program


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


def run_many(devices: Sequence[Device], program: Program, batches: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """Run many inferences, spread over devices, a thread each; return their outputs in the order of ``batches``.

    Raises:
        DeviceError: an inference failed; those that have started are waited for.
    """

    def work(device: Device, first: int) -> list[list[Array]]:
        with PlacedProgram(device, program) as placed:
            return [placed.run(inputs) for inputs in batches[first :: len(devices)]]

    with ThreadPoolExecutor(len(devices)) as threads:
        parts = list(threads.map(work, devices, range(len(devices))))
    return [parts[number % len(devices)][number // len(devices)] for number in range(len(batches))]
