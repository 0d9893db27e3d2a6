"""Recorded submissions as programs of ours: their buffers, with a hole wherever an address is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import vsi_recordings as recorded

from rocketnpu.device.base import Device
from rocketnpu.device.placement import Placement
from rocketnpu.graph import DType
from rocketnpu.inspect.recording_file import RecordedBuffer, RecordedTensor
from rocketnpu.program.layout import SurfaceLayout
from rocketnpu.program.program import Binding, Program, ProgramBuffer, ProgramJob, ProgramTask, Role
from rocketnpu.program.relocations import Relocations
from rocketnpu.verisilicon.drivers.etnaviv_stream import stream_of
from rocketnpu.verisilicon.registers.commands import LoadState, read_commands
from rocketnpu.verisilicon.registers.instruction import WORD, Words
from rocketnpu.verisilicon.registers.jobs import UNITS, addresses, started
from rocketnpu.verisilicon.registers.states import NN_START, TP_START
from rocketnpu.verisilicon.streams.recording import Recording, Submission, load

_HEAD, _TAIL = 8, stream_of([]).size - 8
_MASKS = {"COEFFICIENTS_64": (-6, 0x03FF_FFFF)}
_SENTINEL = 64
Place = tuple[int, int, int, int, int, int, int]
"""A row of the table of relocations."""


@cache
def program_of(chip: str, name: str) -> tuple[Program, np.ndarray, np.ndarray]:
    """Return a packaged recording's program, its input, and the reference's output."""
    recording = load(recorded.PACKAGED / chip / f"{name}.zip")
    submission = next(item for item in recording.submissions if item.buffers)
    buffers = submission.buffers
    stream = submission.stream[_HEAD:-_TAIL]
    places = [*_instruction_places(submission), *_stream_places(stream, buffers)]
    table = Relocations.from_columns(np.array(places, np.int64).T)
    specs = [_spec(recording, buffer) for buffer in buffers]
    given = next(number for number, spec in enumerate(specs) if spec.role is Role.INPUT)
    made = next(number for number, spec in enumerate(specs) if spec.role is Role.OUTPUT)
    written = tuple(number for number, spec in enumerate(specs) if spec.role in (Role.OUTPUT, Role.SCRATCH))
    reads = tuple(number for number in range(len(specs)) if number not in written)
    program = Program(
        name,
        chip,
        (*specs, ProgramBuffer("commands", Role.COMMANDS, stream.nbytes, stream.tobytes())),
        len(specs),
        table,
        (ProgramJob(tuple(_tasks(stream)), reads, written, (made, 0, _SENTINEL)),),
        (_binding(recording.inputs[0], given),),
        (_binding(recording.outputs[0], made),),
    )
    shape, kind = recording.inputs[0].shape, recording.inputs[0].dtype
    picture = np.frombuffer(recording.input_data[0], kind).reshape(shape)
    return program, picture, recording.reference[recording.outputs[0].index]


def _spec(recording: Recording, buffer: RecordedBuffer) -> ProgramBuffer:
    roles = {"written": Role.OUTPUT, "read and written": Role.SCRATCH}
    role, name = roles.get(buffer.role, Role.CONSTANTS), f"bo{buffer.handle}"
    raw = np.frombuffer(recording.input_data[0], recording.inputs[0].dtype)
    stored = raw.view(np.uint8) ^ np.uint8(0x80 if raw.dtype == np.int8 else 0)
    if role is Role.CONSTANTS and buffer.data[: stored.size] == stored.tobytes():
        return ProgramBuffer(name, Role.INPUT, buffer.size)
    return ProgramBuffer(name, role, buffer.size, buffer.data if role is Role.CONSTANTS else b"")


def _binding(tensor: RecordedTensor, buffer: int) -> Binding:
    """Describe a tensor that lies in memory as it does at the host."""
    _, height, width, channels = (1,) * (4 - len(tensor.shape)) + tensor.shape
    layout = SurfaceLayout(height, width, channels, 0, 0, tensor.dtype == "int8", channels)
    return Binding(tensor.index, tensor.name, tensor.shape, DType(tensor.dtype), buffer, layout)


def _tasks(stream: Words) -> Iterator[ProgramTask]:
    """Cut a stream behind every state that starts a job; what follows the last one belongs to it."""
    ends = [command.word + 2 for command in read_commands(stream) if _starts(command)]
    begin = 0
    for number, end in enumerate([*ends[:-1], stream.size]):
        yield ProgramTask(begin * WORD, (end - begin) // 2, 1, number, f"job {number}", 0)
        begin = end


def _starts(command: object) -> bool:
    return isinstance(command, LoadState) and command.offset in (NN_START, TP_START)


def _stream_places(stream: Words, buffers: tuple[RecordedBuffer, ...]) -> Iterator[Place]:
    for command in read_commands(stream):
        if _starts(command):
            number, addend = _found(buffers, command.values[0] & ~63)
            yield len(buffers), (command.word + 1) * WORD, number, addend, WORD, 0, 0xFFFF_FFC0


def _instruction_places(submission: Submission) -> Iterator[Place]:
    buffers = submission.buffers
    for start in started(submission.stream):
        layout = UNITS[start.unit]
        target, base = _found(buffers, start.address)
        words = buffers[target].content()[base : base + layout.size * WORD].view("<u4")
        for name, address, _ in addresses(start.unit, words):
            register = layout.pieces[name][0].register
            shift, mask = _MASKS.get(name, (0, 0xFFFF_FFFF))
            yield target, base + register.offset, *_found(buffers, address), WORD, shift, mask


def _found(buffers: tuple[RecordedBuffer, ...], address: int) -> tuple[int, int]:
    return next(
        (number, address - buffer.address)
        for number, buffer in enumerate(buffers)
        if buffer.address <= address < buffer.end
    )


class Moved:
    """A recorded program in a device's memory, its input filled in."""

    def __init__(self, device: Device, chip: str, name: str) -> None:
        self.program, picture, self.wanted = program_of(chip, name)
        self.device, self.placed = device, Placement(device, self.program)
        (given,), (made,) = self.program.inputs, self.program.outputs
        given.layout.pack(picture, self.placed.memories[given.buffer])
        device.sync_for_device(self.placed.buffers[given.buffer])
        self.commands = self.placed.buffers[self.program.commands]
        self.output = self.placed.buffers[made.buffer]
        (self.job,) = self.placed.jobs

    def words_at(self, address: int) -> Words:
        """Return the words from an address on to the end of its buffer, in place."""
        for buffer, memory in zip(self.placed.buffers, self.placed.memories, strict=True):
            offset = address - buffer.address
            if 0 <= offset < buffer.size:
                return np.frombuffer(memory, "<u4", (buffer.size - offset) // WORD, offset)
        raise AssertionError(f"no buffer holds 0x{address:x}")

    def run(self) -> None:
        """Submit and wait."""
        self.device.submit([self.job])
        self.device.sync_for_cpu(self.output, 60)

    def clear(self) -> None:
        """Forget the output."""
        self.device.map(self.output)[:] = bytes(self.output.size)
        self.device.sync_for_device(self.output)

    def off_by(self) -> int:
        """Return the largest difference from the recorded reference."""
        found = np.empty_like(self.wanted)
        self.program.outputs[0].layout.unpack(self.device.map(self.output), found)
        return int(np.abs(found.astype(int) - self.wanted.astype(int)).max())
