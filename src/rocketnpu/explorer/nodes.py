"""A program as nodes: its inputs, its tasks in the order of work, its outputs. Model Explorer is not needed for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.estimate.estimate import Conditions, TimedTask
from rocketnpu.family import Family, family_of
from rocketnpu.program.program import Binding, Program, ProgramTask

INPUTS, OUTPUTS = "inputs", "outputs"


@dataclass(frozen=True)
class Node:
    """Something in a graph."""

    id: str
    label: str
    group: str
    """The box that it lies in; boxes within boxes are divided by slashes."""
    facts: dict[str, str]
    """What is said of it, in this order."""
    before: tuple[str, ...] = field(default=())
    """Nodes that end before it begins."""


def nodes_of(program: Program) -> list[Node]:
    """Return the nodes of a program. Edges are the order of work: of tasks in a job, and of jobs, boxes if several."""
    family = family_of(program.chip)
    nodes = [_end(binding, f"input {number}", INPUTS, ()) for number, binding in enumerate(program.inputs)]
    before = tuple(node.id for node in nodes)
    times = _times(family, program)
    number, alone = 0, len(program.jobs) == 1
    for job, spec in enumerate(program.jobs):
        for task in spec.tasks:
            facts = _facts(family, program, task, times[number] if times else None)
            group = f"{'' if alone else f'job {job}/'}operator {task.operator} {task.label.split()[0]}"
            nodes.append(Node(f"task {number}", task.label, group, facts, before))
            before = (f"task {number}",)
            number += 1
    nodes += [_end(binding, f"output {number}", OUTPUTS, before) for number, binding in enumerate(program.outputs)]
    return nodes


def _end(binding: Binding, name: str, group: str, before: Sequence[str]) -> Node:
    facts = {
        "tensor": binding.name,
        "shape": "x".join(map(str, binding.shape)),
        "type": binding.dtype.value,
        "buffer": str(binding.buffer),
        "layout": str(binding.layout),
    }
    return Node(name, binding.name, group, facts, tuple(before))


def _facts(family: Family, program: Program, task: ProgramTask, timed: TimedTask | None) -> dict[str, str]:
    facts = {"operator": str(task.operator), "command words": str(task.words), "multiply-accumulates": f"{task.macs:,}"}
    if timed is not None:
        facts |= {
            "estimated microseconds": f"{timed.us:.1f}",
            "bound by": timed.bound_by,
            "bytes read": f"{timed.read:,}",
            "bytes written": f"{timed.written:,}",
        }
    words = np.frombuffer(program.buffers[program.commands].data, "<u8", task.words, task.offset)
    for line in family.command_text(words).splitlines():
        register, _, fields = line.strip().partition(" ")
        if fields and re.fullmatch(r"[A-Z0-9_]+\.[A-Z0-9_]+", register):
            facts[register] = fields.strip()
    return facts


def _times(family: Family, program: Program) -> Sequence[TimedTask]:
    """Estimate each task under mainline's driver; nothing where the chip has no timing model."""
    try:
        times = family.timed(program, Conditions())
    except UnsupportedError:
        return ()
    return times if len(times) == len(program.tasks) else ()
