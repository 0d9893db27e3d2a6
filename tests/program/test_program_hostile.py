"""A program file may hold any byte and any number: it is refused, or runs without leaving its buffers."""

from __future__ import annotations

import json
import os
from collections import Counter

import numpy as np
import pytest
from hostile_programs import VALUES, mutated, outcome, parts, places, sealed

from rocketnpu.compiler import compile_graph
from rocketnpu.errors import ProgramError
from rocketnpu.graph import Graph
from rocketnpu.partition.plan import plan
from rocketnpu.program import store
from rocketnpu.program.layout import SurfaceLayout
from strategies import case

MUTANTS = int(os.environ.get("ROCKETNPU_TEST_CASES", "12")) * 10
"""Mutated files; a long search sets it to thousands."""
BUFFERS, MASKS = 2, 6
"""Columns of the relocation table in which another number may mean something."""
FAMILIES = ("conv", "fully_connected", "elementwise", "concatenation", "activation")


def part(family: str) -> Graph:
    return next(found.parts[0] for seed in range(20) if (found := plan(case(family, seed).graph)).parts)


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [store.to_bytes(compile_graph(part(family))) for family in FAMILIES]


def test_mutated_files_are_refused_or_run(files: list[bytes]) -> None:
    outcomes = Counter(outcome(mutated(files[seed % len(files)], seed)) for seed in range(MUTANTS))
    assert outcomes["refused"] > MUTANTS // 3, outcomes
    assert outcomes["bytes"] > 0, outcomes


def test_every_number_of_a_header_is_checked(files: list[bytes]) -> None:
    """Each place gets values that it cannot have: no other error than ours comes out."""
    header, rest = parts(files[1])
    accepted = 0
    for number in range(len(places(header))):
        for value in VALUES[:: 1 if number % 3 == 0 else 5]:
            header, rest = parts(files[1])
            owner, key = places(header)[number]
            owner[key] = value
            accepted += outcome(sealed(json.dumps(header).encode(), rest)) != "refused"
    assert accepted > 0


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("outputs", 0, "layout", "surface_pitch"), -16, "surface_pitch is -16"),
        (("outputs", 0, "layout", "offset"), -1, "offset is -1"),
        (("outputs", 0, "layout", "offset"), 1 << 20, "ends at byte"),
        (("outputs", 0, "layout", "height"), 0, "a layout of 0 x"),
        (("outputs", 0, "layout", "flip"), 1, "flip is 1, it is true or false"),
        (("outputs", 0, "shape", 0), 1 << 31, "elements"),
        (("outputs", 0, "dtype"), "float32", "element type 'float32'"),
        (("outputs", 0, "buffer"), 99, "leads outside the program"),
        (("outputs", 0, "buffer"), 0, "is in buffer 0, which is for"),
        (("buffers", 0, 2), 1 << 31, "at most 1073741824 are placed"),
        (("buffers", 0, 2), True, "a buffer's size is True"),
        (("commands",), 0, "none of commands"),
        (("jobs",), [], "it runs nothing"),
        (("jobs", 0, "tasks"), [], "a job without tasks"),
        (("jobs", 0, "tasks", 0, 0), 4, "lead outside|byte 4"),
        (("jobs", 0, "tasks", 0, 1), 0, "a task's length is 0"),
        (("jobs", 0, "sentinel", 2), 1 << 30, "a sentinel of 1073741824 bytes"),
        (("jobs", 0, "sentinel", 1), 1 << 30, "leads outside the program's buffer"),
        (("rules",), ["no-such-rule"], "relies on the hardware rule 'no-such-rule'"),
        (("chip",), "rk9999", "for the chip 'rk9999'"),
        (("name",), 7, "the name is 7"),
        (("notes",), "text", "a note is 'text'"),
    ],
)
def test_what_does_not_fit_is_named(files: list[bytes], path: tuple[str | int, ...], value: object, words: str) -> None:
    header, rest = parts(files[0])
    owner = header
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    with pytest.raises(ProgramError, match=words):
        store.from_bytes(sealed(json.dumps(header).encode(), rest))


@pytest.mark.parametrize("column", range(7))
@pytest.mark.parametrize("value", [-1, -(1 << 63), (1 << 63) - 1, 3, 1 << 20])
def test_every_column_of_the_relocations_is_checked(files: list[bytes], column: int, value: int) -> None:
    header, rest = parts(files[0])
    count = header["relocations"]
    table = np.frombuffer(rest[-56 * count :], "<i8").reshape(7, count).copy()
    table[column, 0] = value
    found = outcome(sealed(json.dumps(header).encode(), rest[: -56 * count] + table.tobytes()))
    assert found != "bytes" or column in {BUFFERS, MASKS}


def test_a_header_that_is_deep_or_long_is_refused() -> None:
    for text in (b"[" * 100_000, b'{"a":' * 5000, b"", b"nul", b"\xff\xfe", b"1e999"):
        with pytest.raises(ProgramError):
            store.from_bytes(sealed(text, b""))


@pytest.mark.parametrize(
    "changes",
    [{"offset": -1}, {"offset": 1}, {"surface_pitch": -64}, {"surface_pitch": 0}, {"height": -1}, {"channels": 0}],
)
def test_a_view_asserts_its_bounds_itself(changes: dict[str, int]) -> None:
    fields = {"height": 2, "width": 2, "channels": 32, "offset": 0, "surface_pitch": 64, "flip": False, "slot": 16}
    memory = np.zeros(128, np.uint8)
    assert SurfaceLayout(**fields).view(memory).shape == (2, 4, 16)
    with pytest.raises(ValueError, match=r"layout|overlap"):
        SurfaceLayout(**{**fields, **changes}).view(memory)
