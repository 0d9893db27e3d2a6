"""Compiled programs are those recorded, byte for byte; :mod:`frozen` says when the record may be written anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from frozen import POLICIES, SECTIONS, compiled, difference, digest, fingerprint, load
from frozen_models import BUILT, SHARED, model_of

from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.program.program import Program
from rocketnpu.rockchip.rules.table import RULES

RECORDED = load()
GROUPS = sorted({name.rpartition("/")[0] for name in RECORDED})


@pytest.mark.parametrize("group", GROUPS)
def test_programs_are_those_recorded(group: str, request: pytest.FixtureRequest) -> None:
    shared = request.getfixturevalue("shared") if group.startswith(SHARED) else None
    if shared is not None and not (shared / group.removeprefix(SHARED)).is_dir():
        pytest.skip(f"no {group}")
    for name, entry in RECORDED.items():
        if name.rpartition("/")[0] != group:
            continue
        graph = tflite.parse(model_of(name, shared), name)
        assert digest(graph) == entry["model"], f"{name} is another model now, so its programs tell nothing"
        for title, policy in POLICIES.items():
            found = difference(name, title, entry[title], compiled(graph, policy))
            assert found is None, found


def test_every_operator_and_every_model_is_recorded() -> None:
    assert set(BUILT) <= set(RECORDED)
    assert len(BUILT) >= 200
    parts = [part for name in BUILT for part in plan(tflite.parse(model_of(name, None)), POLICIES["all"]).parts]
    kinds = {operator.kind for part in parts for operator in part.operators}
    assert len(kinds & set(RULES)) >= 36, "all kinds that there were when the record was made"


def sample() -> Program:
    graph = tflite.parse(model_of("joined/0", None), "joined")
    return compiled(graph, POLICIES["all"])[0]


def with_buffer(program: Program, number: int, **fields: Any) -> Program:
    buffers = list(program.buffers)
    buffers[number] = replace(buffers[number], **fields)
    return replace(program, buffers=tuple(buffers))


def with_word(program: Program) -> Program:
    words = np.frombuffer(program.buffers[program.commands].data, "<u8").copy()
    words[0] ^= np.uint64(1 << 16)
    return with_buffer(program, program.commands, data=words.tobytes())


def with_addend(program: Program) -> Program:
    addends = program.relocations.addends.copy()
    addends[-1] += 16
    return replace(program, relocations=replace(program.relocations, addends=addends))


def with_task(program: Program, **fields: Any) -> Program:
    job = program.jobs[0]
    return with_job(program, tasks=(*job.tasks[:-1], replace(job.tasks[-1], **fields)))


def with_job(program: Program, **fields: Any) -> Program:
    return replace(program, jobs=(replace(program.jobs[0], **fields), *program.jobs[1:]))


def with_output(program: Program, **fields: Any) -> Program:
    return replace(program, outputs=(replace(program.outputs[0], **fields), *program.outputs[1:]))


@pytest.mark.parametrize(
    ("change", "sections"),
    [
        (with_word, {"words", "buffers"}),
        (with_addend, {"words"}),
        (lambda p: with_buffer(p, 0, data=bytes(len(p.buffers[0].data))), {"buffers"}),
        (lambda p: with_buffer(p, 2, size=p.buffers[2].size + 16), {"buffers"}),
        (lambda p: with_task(p, kind=p.jobs[0].tasks[-1].kind ^ 1), {"jobs"}),
        (lambda p: with_task(p, label="another"), {"jobs"}),
        (lambda p: with_job(p, reads=()), {"jobs"}),
        (lambda p: with_job(p, sentinel=(2, 0, 1)), {"jobs"}),
        (lambda p: with_output(p, tensor=99), {"bindings"}),
        (lambda p: with_output(p, layout=replace(p.outputs[0].layout, offset=4096)), {"bindings"}),
        (lambda p: replace(p, rules=(*p.rules, "a rule")), {"remarks"}),
        (lambda p: replace(p, notes=(*p.notes, "a note")), {"remarks"}),
    ],
)
def test_any_change_is_seen_where_it_is(change: Any, sections: set[str]) -> None:
    program = sample()
    recorded, other = fingerprint(program), change(program)
    pairs = zip(SECTIONS, recorded.split("."), fingerprint(other).split("."), strict=True)
    assert {section for section, before, after in pairs if before != after} == sections
    found = difference("joined", "a policy", [recorded], (other,))
    assert found is not None
    assert all(section in found for section in sections)


def test_a_missing_program_is_seen() -> None:
    program = sample()
    recorded = fingerprint(program)
    assert difference("joined", "a policy", [recorded], (program,)) is None
    assert difference("joined", "a policy", [recorded, recorded], (program,)) is not None
    assert difference("joined", "a policy", [], (program,)) is not None
