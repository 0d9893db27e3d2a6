"""A program placed on a device: buffers allocated, addresses filled in, ready to run again and again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt

from rocketnpu.device.base import Device
from rocketnpu.device.failure import describe_failure
from rocketnpu.device.one_at_a_time import turn_of
from rocketnpu.device.placement import Placement
from rocketnpu.errors import DeviceError, DeviceTimeoutError, InputError
from rocketnpu.program.program import Binding, Program

Array = npt.NDArray[np.generic]
TIMEOUT = 30.0
"""Seconds to wait for a program. The kernel's own limit of 500 ms a job strikes far earlier on an NPU."""


CERTAIN = 8
"""Bytes of a pattern that do not come out of a job by chance."""
_COMPLEMENT = bytes(range(255, -1, -1))


class PlacedProgram(Placement):
    """A program in a device's memory, ready to run again and again, from any thread: inferences run one at a time.

    Several on one device, each in a thread, keep it busy: inputs and outputs are converted outside the device's turn.
    """

    def __init__(
        self, device: Device, program: Program, *, allow_unproven: bool = False, bundle_folder: Path | None = None
    ) -> None:
        """Place it; see :class:`~rocketnpu.device.placement.Placement`.

        Args:
            device: where to run; it stays the caller's.
            program: what to run.
            allow_unproven: whether an NPU may run a program that relies on unproven hardware rules.
            bundle_folder: where failure bundles are written; the system's folder for temporary files by default.

        Raises:
            DeviceError: the device is another chip, it has no room, or the program relies on unproven rules.
        """
        super().__init__(device, program, allow_unproven=allow_unproven)
        self._bundle_folder = bundle_folder
        marked = [job.sentinel[0] for job in program.jobs]
        self._given = tuple(dict.fromkeys((*(binding.buffer for binding in program.inputs), *marked)))
        self._awaited = tuple(dict.fromkeys((*marked, *(binding.buffer for binding in program.outputs))))
        self._random = Random(os.urandom(16))  # patterns must not repeat, but nobody tries to guess them

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array] | None = None) -> list[Array]:
        """Run one inference, or one for each image where every input holds several.

        Args:
            inputs: one array for each of the program's inputs, of its shape and element type; all of n times its first
                dimension for n images.
            outputs: arrays to fill, C-contiguous and of as many images; made where not given.

        Returns:
            One array for each of the program's outputs.

        Raises:
            InputError: an array does not fit its tensor.
            JobFailedError: a job did not run to its end; the next run may work again.
            DeviceError: the device failed otherwise.
        """
        program = self.program
        if len(inputs) != len(program.inputs):
            raise InputError(f"{program.name} has {len(program.inputs)} inputs, {len(inputs)} arrays were given")
        count = _images(program.inputs, inputs)
        results = list(outputs) if outputs is not None else [_empty(binding, count) for binding in program.outputs]
        for image in range(count):
            self._run_one([_image(a, image, count) for a in inputs], [_image(a, image, count) for a in results])
        return results

    def _run_one(self, inputs: Sequence[Array], results: Sequence[Array]) -> None:
        if not self._buffers:
            raise DeviceError(f"{self.device.name}: program {self.program.name} was closed")
        fitting = [_fitting(binding, array) for binding, array in zip(self.program.inputs, inputs, strict=True)]

        def fill() -> None:
            for binding, array in zip(self.program.inputs, fitting, strict=True):
                binding.layout.pack(np.ascontiguousarray(array), self._maps[binding.buffer])

        self._compute(fill)
        for binding, result in zip(self.program.outputs, results, strict=True):
            binding.layout.unpack(self._maps[binding.buffer], _fitting(binding, result))

    def _compute(self, fill: Callable[[], None]) -> None:
        """Make outputs of inputs, both in the device's memory; ``fill`` writes the inputs there.

        The device's turn is held until the outputs are the CPU's again: else another program's job could keep them.
        """
        fill()
        patterns = self.mark()
        with turn_of(self.device):
            refused = self._execute()
            untouched = [pattern for job, pattern in enumerate(patterns) if self._is_untouched(job, pattern)]
            if untouched and all(len(pattern) < CERTAIN for pattern in untouched):
                # So few bytes may come out as the pattern by chance, but not as its complement too.
                fill()
                patterns = self.mark([pattern.translate(_COMPLEMENT) for pattern in patterns])
                refused = self._execute()
            for job, pattern in enumerate(patterns):
                self.check(job, pattern, refused)
        if refused:
            raise refused

    def mark(self, patterns: Sequence[bytes] | None = None) -> list[bytes]:
        """Fill what each job's last task must write with a pattern, random ones where none are given, and return the
        patterns: mainline's kernel drivers report no failed job.
        """
        filled = []
        for index, job in enumerate(self.program.jobs):
            number, offset, size = job.sentinel
            filled.append(patterns[index] if patterns is not None else self._random.randbytes(size))
            self._maps[number][offset : offset + size] = filled[-1]
        return filled

    def _execute(self) -> DeviceTimeoutError | None:
        """Hand over, submit and wait; return what a driver that does report failed jobs says of one."""
        for number in self._given:
            self.device.sync_for_device(self._buffers[number])
        refused: DeviceTimeoutError | None = None
        try:
            self._submit()
        except DeviceTimeoutError as error:
            refused = error
        for number in self._awaited:
            self.device.sync_for_cpu(self._buffers[number], TIMEOUT)
        return refused

    def _submit(self) -> None:
        self.device.submit(self.jobs)

    def _is_untouched(self, job: int, pattern: bytes) -> bool:
        number, offset, size = self.program.jobs[job].sentinel
        return bool(self._maps[number][offset : offset + size] == pattern)

    def check(self, job: int, pattern: bytes, refused: Exception | None = None) -> None:
        """Look whether a job wrote over its pattern.

        Raises:
            JobFailedError: it did not.
        """
        if self._is_untouched(job, pattern):
            raise describe_failure(self, job, self._bundle_folder) from refused


def run(device: Device, program: Program, inputs: Sequence[Array], *, allow_unproven: bool = False) -> list[Array]:
    """Place a program, run it once, and free it again."""
    with PlacedProgram(device, program, allow_unproven=allow_unproven) as placed:
        return placed.run(inputs)


def _empty(binding: Binding, count: int) -> Array:
    return np.empty((count * binding.shape[0], *binding.shape[1:]) if count > 1 else binding.shape, binding.dtype.value)


def _images(bindings: Sequence[Binding], inputs: Sequence[Array]) -> int:
    """Return how many images all inputs hold; 1 where they do not agree, so that each is checked against its own."""
    counts = set()
    for binding, array in zip(bindings, inputs, strict=True):
        batches = len(binding.shape) > 1 and binding.shape[0] == 1 and array.shape[1:] == binding.shape[1:]
        counts.add(array.shape[0] if batches and array.ndim == len(binding.shape) else 1)
    return counts.pop() if len(counts) == 1 else 1


def _image(array: Array, image: int, count: int) -> Array:
    if count == 1:
        return array
    size = array.shape[0] // count
    return array[image * size : (image + 1) * size]


def _fitting(binding: Binding, array: Array) -> Array:
    if array.shape != binding.shape or array.dtype != np.dtype(binding.dtype.value):
        raise InputError(
            f"tensor {binding.name!r} is {binding.dtype.value} of shape {binding.shape}, "
            f"given was {array.dtype} of shape {array.shape}"
        )
    return array
