"""Programs in files and in the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import ProgramError
from rocketnpu.graph import DType, Graph
from rocketnpu.graph.digest import digest
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.policy import Policy
from rocketnpu.program import store
from rocketnpu.program.cache import ProgramCache
from rocketnpu.program.program import Program
from strategies import case


@pytest.fixture(scope="module")
def graph() -> Graph:
    return case("conv", 3).graph


@pytest.fixture(scope="module")
def program(graph: Graph) -> Program:
    return compile_graph(graph)


def test_round_trip(program: Program, tmp_path: Path) -> None:
    store.save(program, tmp_path / "a.rktprog")
    again = store.load(tmp_path / "a.rktprog")
    assert store.to_bytes(again) == store.to_bytes(program)
    assert str(again) == str(program)
    inputs = [np.zeros(binding.shape, binding.dtype.value) for binding in program.inputs]
    with SimulatorDevice() as device:
        assert np.array_equal(run(device, program, inputs)[0], run(device, again, inputs)[0])


def test_compilation_is_deterministic(graph: Graph, program: Program) -> None:
    assert store.to_bytes(compile_graph(graph)) == store.to_bytes(program)


@settings(max_examples=80)
@given(data=st.data())
def test_damage_is_noticed(program: Program, data: st.DataObject) -> None:
    good = store.to_bytes(program)
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ProgramError):
        store.from_bytes(bytes(bad))
    with pytest.raises(ProgramError):
        store.from_bytes(good[:place])


def test_references_are_checked_although_the_checksum_is_right(program: Program) -> None:
    task = program.jobs[0].tasks[0]
    far = dataclasses.replace(task, offset=1 << 30)
    job = dataclasses.replace(program.jobs[0], tasks=(far,))
    bad = store.to_bytes(dataclasses.replace(program, jobs=(job,)))
    with pytest.raises(ProgramError, match="lead outside"):
        store.from_bytes(bad)


def test_another_version_is_named(program: Program) -> None:
    good = bytearray(store.to_bytes(program)[:-32])
    good[8] = 99
    with pytest.raises(ProgramError, match="format version 99"):
        store.from_bytes(bytes(good) + hashlib.sha256(good).digest())


def test_missing_file_and_folder(program: Program, tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="cannot read program"):
        store.load(tmp_path / "none")
    with pytest.raises(ProgramError, match="cannot write program"):
        store.save(program, tmp_path / "no" / "folder")


def test_a_second_start_does_not_compile(graph: Graph, program: Program, tmp_path: Path) -> None:
    calls: list[Graph] = []

    def compiler(part: Graph, policy: Policy) -> Program:
        calls.append(part)
        return program

    first = ProgramCache(tmp_path, compiler)
    second = ProgramCache(tmp_path, compiler)
    one, two = first.program(graph, Policy()), second.program(graph, Policy())
    assert (len(calls), first.hits, first.misses, second.hits, second.misses) == (1, 0, 1, 1, 0)
    assert store.to_bytes(one) == store.to_bytes(two)
    second.program(graph, Policy(allow_unproven=False))
    assert len(calls) == 2, "another policy is another program"


def test_a_damaged_entry_is_compiled_anew(graph: Graph, program: Program, tmp_path: Path) -> None:
    cache = ProgramCache(tmp_path, lambda part, policy: program)
    cache.program(graph, Policy())
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(entry.read_bytes()[:-1])
    cache.program(graph, Policy())
    assert cache.misses == 2
    assert store.to_bytes(store.load(entry)) == store.to_bytes(program)


def test_an_unwritable_folder_is_no_error(graph: Graph, program: Program, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    cache = ProgramCache(blocker / "below", lambda part, policy: program)
    assert cache.program(graph, Policy()) is program


def test_the_digest_sees_every_weight_but_no_name(graph: Graph) -> None:
    same = dataclasses.replace(graph, name="another name")
    assert digest(same) == digest(graph)
    number = next(n for n, tensor in graph.tensors.items() if tensor.data is not None and tensor.data.size > 1)
    data = graph.tensors[number].data
    assert data is not None
    other = data.copy()
    other.reshape(-1)[-1] ^= 1
    changed = dict(graph.tensors) | {number: dataclasses.replace(graph.tensors[number], data=other)}
    assert digest(dataclasses.replace(graph, tensors=changed)) != digest(graph)


def test_the_program_of_a_batch_is_found_again(tmp_path: Path) -> None:
    builder = ModelBuilder()
    images, clamped = (builder.tensor((3, 4, 4, 16), DType.INT8, scale=0.1) for _ in range(2))
    sizes = builder.tensor((4,), DType.INT32)
    builder.operator("RELU", [images], [clamped])
    builder.operator("SHAPE", [clamped], [sizes])
    graph, cache = parse(builder.build([images], [clamped, sizes])), ProgramCache(tmp_path)
    first, again = cache.program(graph, Policy()), cache.program(graph, Policy())
    assert (cache.misses, cache.hits) == (1, 1)
    assert store.to_bytes(first) == store.to_bytes(again)


NAMED = """
import sys
from pathlib import Path
from rocketnpu.graph import DType, Graph
from rocketnpu.policy import Policy
from rocketnpu.program.cache import ProgramCache
rules = frozenset(f"rule {number}" for number in range(20))
policy = Policy(proven=rules, refuted=rules)
print(ProgramCache(Path("folder"))._path(Graph("", {}, (), (), ()), policy))
"""


def test_processes_give_a_board_s_programs_the_same_names() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", NAMED],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1
