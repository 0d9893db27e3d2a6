"""Recordings of an etnaviv driver's submissions: front-end streams and all buffers that they may reach.

Its files are those of :mod:`rocketnpu.inspect.recording_file`, format 2: the chip's identity, and for each submission
its stream of 32-bit words and its buffers at the addresses that user space chose. The first submission of a process
initialises the chip and has no buffers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.files.limits import STREAM_WORDS
from rocketnpu.inspect.recording_file import RecordedBuffer, RecordedTensor, RecordingFile, read_recording
from rocketnpu.verisilicon.registers.instruction import Words
from rocketnpu.verisilicon.soc import Identity, Soc, soc_of

FORMAT = 2
ROLES = {1: "read", 2: "written", 3: "read and written"}
"""What a submission says that it does with a buffer (facts 2)."""


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """One hand-over to the driver."""

    buffers: tuple[RecordedBuffer, ...]
    stream: Words


@dataclass(frozen=True, slots=True)
class PlannedOperator:
    """An operator of the host's plan after delegation."""

    kind: str
    """``DELEGATE`` for one that stands for a part."""
    inputs: tuple[int, ...]
    """Tensors that it reads, those that are left out apart."""
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A whole recording."""

    producer: str
    model: str
    model_sha256: str
    soc: Soc
    identity: Identity
    """What the node said; customer and eco ids may differ from the chip's."""
    plan: tuple[PlannedOperator, ...]
    submissions: tuple[Submission, ...]
    inputs: tuple[RecordedTensor, ...]
    outputs: tuple[RecordedTensor, ...]
    input_data: tuple[bytes, ...] = field(repr=False)
    reference: Mapping[int, npt.NDArray[Any]] = field(repr=False)
    """Tensors by index; empty if the recording has none."""

    @property
    def parts(self) -> tuple[PlannedOperator, ...]:
        """Return the parts that were delegated, in the order in which they run."""
        return tuple(operator for operator in self.plan if operator.kind == "DELEGATE")


def load(path: Path | str) -> Recording:
    """Read a recording from a zip file or a directory.

    Raises:
        InputError: it cannot be read, contradicts itself, or names a chip that is not known.
    """
    return read_recording(path, _recording)


def _recording(file: RecordingFile) -> Recording:
    root = file.document([FORMAT])
    chip = root.get("chip")
    identity = Identity(
        *(file.number(chip, key) for key in ("model", "revision", "product_id", "customer_id", "eco_id"))
    )
    soc = soc_of(identity)
    if soc is None:
        file.fail(
            f"chip 0x{identity.model:x} revision 0x{identity.revision:x} product 0x{identity.product:x} is not known"
        )
    if not soc.tried:
        file.fail(f"chip {soc.name} has not been tried: only its numbers are known")
    inputs = tuple(file.tensor(item) for item in file.list(root, "inputs", optional=True))
    return Recording(
        producer=file.text(root, "producer"),
        model=file.text(root, "model"),
        model_sha256=file.text(root, "model_sha256"),
        soc=soc,
        identity=identity,
        plan=tuple(_operator(file, item) for item in file.list(root, "plan", optional=True)),
        submissions=tuple(_submission(file, item) for item in file.list(root, "submits")),
        inputs=inputs,
        outputs=tuple(file.tensor(item) for item in file.list(root, "outputs", optional=True)),
        input_data=tuple(file.required(f"input{index}.bin") for index in range(len(inputs))),
        reference=file.reference(),
    )


def _operator(file: RecordingFile, item: Any) -> PlannedOperator:
    read = file.list(item, "inputs")
    if not all(isinstance(number, int) and number >= -1 for number in read):
        file.fail(f"recording.json: an operator reads tensors {read!r:.60}")
    return PlannedOperator(
        file.text(item, "op"), tuple(number for number in read if number >= 0), file.indices(item, "outputs")
    )


def _submission(file: RecordingFile, item: Any) -> Submission:
    buffers = tuple(
        file.buffer(entry, "address", ROLES.get(file.number(entry, "access"), "unused"))
        for entry in file.list(item, "buffers")
    )
    file.check_places(buffers)
    words = file.list(item, "stream")
    if not all(isinstance(word, int) and 0 <= word < 1 << 32 for word in words):
        file.fail("recording.json: a stream holds something else than 32-bit words")
    if len(words) > STREAM_WORDS:
        file.fail(f"recording.json: a stream of {len(words)} words, the kernel driver takes {STREAM_WORDS}")
    return Submission(buffers, np.array(words, "<u4"))
