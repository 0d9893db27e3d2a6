"""A recorded submission in a device's own buffers, at the device's own addresses."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import vsi_recordings as recorded

from rocketnpu.device.base import Buffer, Device, DeviceJob, DeviceTask
from rocketnpu.verisilicon.drivers.etnaviv_stream import stream_of
from rocketnpu.verisilicon.registers.jobs import UNITS, started
from rocketnpu.verisilicon.streams.machine import as_tensor
from rocketnpu.verisilicon.streams.recording import load

_FIELDS = ("IN_ADDRESS", "OUT_ADDRESS", "COEFFICIENTS_64", "LOOKUP_ADDRESS")


class Moved:
    """The working submission of a packaged recording, with every address changed to where its buffers are now."""

    def __init__(self, device: Device, chip: str, name: str) -> None:
        recording = load(recorded.PACKAGED / chip / f"{name}.zip")
        submission = next(item for item in recording.submissions if item.buffers)
        self.device, self.old = device, submission.buffers
        self.new: list[Buffer] = [device.allocate(item.size) for item in self.old]
        for item, buffer in zip(self.old, self.new, strict=True):
            device.map(buffer)[:] = item.content().tobytes()
        stream = submission.stream.copy()
        self._move_instructions(stream)
        for place in np.flatnonzero(np.isin(stream, (0x0801042E, 0x08010428))) + 1:
            stream[place] = self._moved(int(stream[place]))
        head, tail = 8, stream_of([]).size - 8
        self.commands = device.allocate(stream[head:-tail].nbytes)
        device.map(self.commands)[:] = stream[head:-tail].tobytes()
        for buffer in (*self.new, self.commands):
            device.sync_for_device(buffer)
        self.output = next(n for item, n in zip(self.old, self.new, strict=True) if item.role == "written")
        self.task = DeviceTask(self.commands.address, (stream.size - head - tail) // 2, 1)
        reads = tuple(n for item, n in zip(self.old, self.new, strict=True) if item.role == "read")
        writes = tuple(n for n in self.new if n not in reads)
        self.job = DeviceJob((self.task,), reads, writes)
        self.wanted = recording.reference[recording.outputs[0].index]

    def _moved(self, address: int) -> int:
        for item, buffer in zip(self.old, self.new, strict=True):
            if item.address <= address < item.end:
                return address - item.address + buffer.address
        return address

    def _move_instructions(self, stream) -> None:
        for start in started(stream):
            layout = UNITS[start.unit]
            item, buffer = next(
                pair for pair in zip(self.old, self.new, strict=True) if pair[0].address <= start.address < pair[0].end
            )
            words = np.frombuffer(self.device.map(buffer), "<u4", layout.size, start.address - item.address)
            fields = layout.decode(words)
            for name in _FIELDS:
                if name in fields:
                    scale = 64 if name.endswith("_64") else 1
                    fields[name] = self._moved(fields[name] * scale) // scale
            kept = words.copy()
            changed = layout.encode(fields)
            for place, register in enumerate(layout.registers()):
                words[place] = int(changed[place]) | int(kept[place]) & register.reserved_mask

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
        found = as_tensor(np.frombuffer(self.device.map(self.output), np.uint8), self.wanted)
        return int(np.abs(found.astype(int) - self.wanted.astype(int)).max())
