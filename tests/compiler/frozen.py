"""Digests of compiled programs, to show that a change of structure changes no byte of any of them.

``tests/data/frozen_programs.json`` holds, for each model of :mod:`frozen_models`, a digest of the model and one of each
program that it compiles to under each of :data:`POLICIES`. They are written anew by::

    PYTHONPATH=tests python tests/compiler/frozen.py

which is legitimate only in a change that is meant to alter programs and says so, or adds models, or alters a generator
of models while all digests held just before. Models of the shared folder keep their digests where there is none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from frozen_models import BUILT, SHARED, files, model_of

from materials import find_shared
from rocketnpu.compiler import compile_graph
from rocketnpu.errors import ModelError
from rocketnpu.graph import Graph
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.program.layout import SurfaceLayout
from rocketnpu.program.program import Binding, Program, ProgramJob

RECORD = Path(__file__).resolve().parents[1] / "data" / "frozen_programs.json"
POLICIES = {
    "all": Policy("simulator", allow_unproven=True),
    "proven": Policy("mainline", allow_unproven=False),
}
"""Everything that the compiler can do, and what a board is given."""
SECTIONS = ("words", "buffers", "jobs", "bindings", "remarks")
"""Parts of a program that have a digest of their own, in the order in which they stand in its fingerprint."""
ADDRESS_BITS = 24
"""Buffer ``i`` is taken to lie at ``(i + 1) << ADDRESS_BITS``."""
DIGITS = 12
"""Digits kept of the SHA-256 of each section."""
Entry = dict[str, Any]


def fingerprint(program: Program) -> str:
    """Return a digest of each of :data:`SECTIONS`, joined by points.

    Covered is all that a device or a host gets to see, field by field, at synthetic addresses: neither names of classes
    nor the format of files nor the chip's name.
    """
    return ".".join(hashlib.sha256(section).hexdigest()[:DIGITS] for section in _sections(program))


def _sections(program: Program) -> Iterator[bytes]:
    table = program.relocations
    yield b"".join(
        [
            resolved(program).astype("<u8").tobytes(),
            *(
                np.asarray(column).astype("<i8").tobytes()
                for column in (table.offsets // 8, table.buffers, table.addends)
            ),
        ]
    )
    heads = [[buffer.name, buffer.role.value, buffer.size, len(buffer.data)] for buffer in program.buffers]
    yield _text([program.commands, heads]) + b"".join(buffer.data for buffer in program.buffers)
    yield _text([_job(job) for job in program.jobs])
    yield _text([[_binding(binding) for binding in bindings] for bindings in (program.inputs, program.outputs)])
    yield _text([program.name, list(program.rules), list(program.notes)])


def resolved(program: Program) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return the command words with addresses filled in, just as a device's buffers are filled."""
    table = program.relocations
    memories = [np.frombuffer(buffer.data.ljust(buffer.size, b"\0"), np.uint8).copy() for buffer in program.buffers]
    table.apply(memories, [(number + 1) << ADDRESS_BITS for number in range(len(program.buffers))])
    return memories[program.commands].view("<u8")[: len(program.buffers[program.commands].data) // 8]


def _job(job: ProgramJob) -> list[Any]:
    tasks = [[t.offset, t.words, t.kind, t.operator, t.label, t.macs] for t in job.tasks]
    return [tasks, list(job.reads), list(job.writes), list(job.sentinel)]


def _binding(binding: Binding) -> list[Any]:
    layout = binding.layout
    if isinstance(layout, SurfaceLayout):
        place = [layout.height, layout.width, layout.channels, layout.offset, layout.surface_pitch, layout.flip]
    else:
        place = [layout.kind, *asdict(layout).values()]
    return [binding.tensor, binding.name, list(binding.shape), binding.dtype.value, binding.buffer, place]


def _text(values: Any) -> bytes:
    """Write nested lists in one way only; numpy's numbers count as Python's."""
    return json.dumps(values, separators=(",", ":"), default=lambda number: number.item()).encode()


def compiled(graph: Graph, policy: Policy) -> list[Program]:
    """Divide a graph and compile its parts."""
    return [compile_graph(part, policy) for part in plan(graph, policy).parts]


def digest(graph: Graph) -> str:
    """Return what is recorded of a model itself: not of its bytes, in which versions of FlatBuffers differ."""
    state = hashlib.sha256(_text([graph.inputs, graph.outputs]))
    for operator in graph.operators:
        state.update(_text([operator.kind, operator.inputs, operator.outputs]))
    for number, tensor in sorted(graph.tensors.items()):
        state.update(_text([number, tensor.name, tensor.shape, tensor.dtype.value]))
        if tensor.quantisation is not None:
            state.update(tensor.quantisation.scales.tobytes() + tensor.quantisation.zero_points.tobytes())
        if tensor.data is not None:
            state.update(np.ascontiguousarray(tensor.data).tobytes())
    return state.hexdigest()[:DIGITS]


def difference(name: str, policy: str, recorded: list[str], programs: Sequence[Program]) -> str | None:
    """Say what first differs from the recorded programs of a model, or return None."""
    found = [fingerprint(program) for program in programs]
    for number, (was, now) in enumerate(zip(recorded, found, strict=False)):
        if was != now:
            pairs = zip(SECTIONS, was.split("."), now.split("."), strict=True)
            sections = ", ".join(section for section, before, after in pairs if before != after)
            return f"{name}, policy {policy}: program {number} of {len(recorded)} has other {sections}"
    if len(recorded) != len(found):
        return f"{name}, policy {policy}: {len(recorded)} programs recorded, {len(found)} made"
    return None


def load() -> dict[str, Entry]:
    """Read the record."""
    return json.loads(RECORD.read_text())


def record() -> dict[str, Entry]:
    """Compile everything. Files that the reader refuses are left out."""
    shared = find_shared()
    known = load() if RECORD.exists() and shared is None else {}
    entries: dict[str, Entry] = {name: entry for name, entry in known.items() if name.startswith(SHARED)}
    for name in (*BUILT, *files(shared)):
        model = model_of(name, shared)
        try:
            graph = tflite.parse(model, name)
        except ModelError as error:
            print(f"left out: {error}")
            continue
        programs = {title: compiled(graph, policy) for title, policy in POLICIES.items()}
        entries[name] = {"model": digest(graph)}
        entries[name] |= {title: [fingerprint(program) for program in found] for title, found in programs.items()}
    return entries


def main() -> None:
    """Write the record anew, a line for each model."""
    entries = record()
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items()]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    count = sum(len(entry[title]) for entry in entries.values() for title in POLICIES)
    print(f"{RECORD.name}: {len(entries)} models, {len(BUILT)} of them built, {count} programs")


if __name__ == "__main__":
    main()
