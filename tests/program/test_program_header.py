"""What a program's file says, each value just inside and just outside what it may be."""

from __future__ import annotations

from typing import Any

import pytest

from rocketnpu.errors import ProgramError
from rocketnpu.graph import DType
from rocketnpu.program import header
from rocketnpu.program.constants import ALIGNMENT, SLACK, ConstantPool, Location
from rocketnpu.program.header import ADDRESSES, MAX_MACS
from rocketnpu.program.layout import SurfaceLayout
from rocketnpu.program.program import ProgramTask, Role

TASK = [8, 4, 1, 3, "a task", 99]
JOB = {"tasks": [TASK], "reads": [0], "writes": [1], "sentinel": [1, 0, 16]}
LAYOUT = {
    "kind": "surfaces",
    "height": 2,
    "width": 3,
    "channels": 4,
    "offset": 0,
    "surface_pitch": 96,
    "flip": True,
    "slot": 16,
}
BINDING = {"tensor": 7, "name": "x", "shape": [1, 2, 3, 4], "dtype": "int8", "buffer": 2, "layout": LAYOUT}


def without(value: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: found for name, found in value.items() if name != key}


def test_jobs() -> None:
    job = header.job(JOB)
    assert job.tasks == (ProgramTask(8, 4, 1, 3, "a task", 99),)
    assert (job.reads, job.writes, job.sentinel) == ((0,), (1,), (1, 0, 16))
    largest = [ADDRESSES - 1, ADDRESSES - 1, ADDRESSES - 1, ADDRESSES - 1, "", MAX_MACS - 1]
    smallest = [0, 1, 0, 0, "", 0]
    for task in (largest, smallest):
        assert header.job(JOB | {"tasks": [TASK, task]}).tasks[1] == ProgramTask(*task)


@pytest.mark.parametrize(
    "value",
    [
        *(without(JOB, key) for key in JOB),
        *(JOB | {key: 3} for key in JOB),
        JOB | {"tasks": []},
        JOB | {"reads": [-1]},
        JOB | {"writes": [ADDRESSES]},
        JOB | {"sentinel": [1, 0]},
        JOB | {"sentinel": [1, 0, 16, 0]},
        *(JOB | {"tasks": [[*TASK[:place], -1, *TASK[place + 1 :]]]} for place in range(6)),
        *(JOB | {"tasks": [[*TASK[:place], ADDRESSES, *TASK[place + 1 :]]]} for place in range(5)),
        JOB | {"tasks": [[*TASK[:5], MAX_MACS]]},
        JOB | {"tasks": [[8, 0, *TASK[2:]]]},
        JOB | {"tasks": [TASK[:5]]},
        JOB | {"tasks": [[*TASK, 1]]},
        [],
    ],
)
def test_what_is_no_job(value: Any) -> None:
    with pytest.raises(ProgramError, match="damaged"):
        header.job(value)


@pytest.mark.parametrize(("size", "content"), [(1, 0), (1, 1), (ADDRESSES - 1, ADDRESSES - 1)])
def test_buffers(size: int, content: int) -> None:
    for role in Role:
        described = {"buffers": [["b", role.value, size, content]]}
        assert header.entries(described) == [("b", role, size, content)]


@pytest.mark.parametrize(
    "entry",
    [
        ["b", "input", 0, 0],
        ["b", "input", 1, 2],
        ["b", "input", 1, -1],
        ["b", "input", ADDRESSES, 0],
        ["b", "other", 1, 1],
        ["b", [], 1, 1],
        [1, "input", 1, 1],
        ["b", "input", 1],
        ["b", "input", 1, 1, 1],
        "b",
    ],
)
def test_what_is_no_buffer(entry: Any) -> None:
    with pytest.raises(ProgramError, match="damaged"):
        header.entries({"buffers": [entry]})


def test_bindings() -> None:
    found = header.binding(BINDING)
    assert (found.tensor, found.name, found.shape, found.dtype, found.buffer) == (7, "x", (1, 2, 3, 4), DType.INT8, 2)
    assert found.layout == SurfaceLayout(2, 3, 4, 0, 96, True, 16)
    assert header.binding(BINDING | {"dtype": "uint8"}).dtype is DType.UINT8


@pytest.mark.parametrize(
    "value",
    [
        *(without(BINDING, key) for key in BINDING),
        *(BINDING | {key: None} for key in BINDING),
        BINDING | {"dtype": "int16"},
        BINDING | {"dtype": ["int8"]},
        BINDING | {"shape": [1, -2, 3, 4]},
        *(BINDING | {"layout": without(LAYOUT, key)} for key in LAYOUT),
        *(BINDING | {"layout": LAYOUT | {key: -1}} for key in LAYOUT),
        BINDING | {"layout": LAYOUT | {"flip": 1}},
        BINDING | {"layout": LAYOUT | {"height": True}},
        BINDING | {"layout": LAYOUT | {"kind": "planes"}},
        BINDING | {"layout": LAYOUT | {"kind": "other"}},
        BINDING | {"layout": LAYOUT | {"more": 1}},
        BINDING | {"layout": LAYOUT | {"offset": ADDRESSES}},
    ],
)
def test_what_is_no_binding(value: Any) -> None:
    with pytest.raises(ProgramError, match="damaged"):
        header.binding(value)


def test_rules_and_notes_are_texts() -> None:
    assert header.texts(["a", "b"], "a rule") == ("a", "b")
    for value in ([1], ["a", None], "a", None):
        with pytest.raises(ProgramError, match="damaged: a rule"):
            header.texts(value, "a rule")


@pytest.mark.parametrize("sizes", [(1, 63, 64, 65), (64, 64), (128, 1)])
def test_constants_lie_on_cache_lines_and_once(sizes: tuple[int, ...]) -> None:
    pool, places = ConstantPool(), []
    for number, size in enumerate(sizes):
        data = bytes([number + 1]) * size
        places.append((pool.add(data), data))
        assert pool.add(data) == places[-1][0]
    content = pool.content()
    end = 0
    for place, data in places:
        assert place.offset == end
        assert content[place.offset : place.offset + len(data)] == data
        end += -(-len(data) // ALIGNMENT) * ALIGNMENT
        assert not any(content[place.offset + len(data) : end])
    assert len(content) == end + SLACK
    assert not any(content[end:])


def test_locations() -> None:
    assert Location("r") + 3 + 4 == Location("r", 7)
    assert (str(Location("r")), str(Location("r", 26))) == ("r", "r+0x1a")
