"""Regions that live at the same time never share a byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.program.memory import REUSE_DISTANCE, Region, plan_memory
from rocketnpu.program.program import Role

REGIONS = st.lists(st.tuples(st.integers(1, 500), st.integers(0, 20), st.integers(0, 8)), min_size=1, max_size=25).map(
    lambda items: [Region(f"r{i}", size, first, first + life) for i, (size, first, life) in enumerate(items)]
)


@given(regions=REGIONS, data=st.data())
def test_contemporaries_do_not_overlap(regions: list[Region], data: st.DataObject) -> None:
    names = [region.name for region in regions]
    inputs = data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    outputs = data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    plan = plan_memory(regions, inputs, outputs, 2)
    sizes = {2 + number: size for number, (_, _, size) in enumerate(plan.roles)}
    for one in regions:
        slot = plan.slots[one.name]
        assert slot.offset % 64 == 0
        assert slot.offset + one.size <= sizes[slot.buffer]
        for other in regions:
            apart = one.last + REUSE_DISTANCE < other.first or other.last + REUSE_DISTANCE < one.first
            place = plan.slots[other.name]
            if one.name < other.name and not apart and slot.buffer == place.buffer:
                assert slot.offset + one.size <= place.offset or place.offset + other.size <= slot.offset
    roles = {name: role for name, role, _ in plan.roles}
    assert all(roles[name] is Role.OUTPUT for name in outputs)
    assert all(roles[name] is Role.INPUT for name in inputs if name not in outputs)


def test_an_input_that_is_an_output_is_one_buffer_of_outputs() -> None:
    regions = [Region("both", 100, 0, 5), Region("in", 50, 0, 1), Region("out", 70, 2, 5)]
    plan = plan_memory(regions, ["both", "in"], ["out", "both"], 2)
    assert plan.roles == (("in", Role.INPUT, 50), ("out", Role.OUTPUT, 70), ("both", Role.OUTPUT, 100))
    assert [plan.slots[name].buffer for name in ("in", "out", "both")] == [2, 3, 4]


def test_a_region_fits_a_gap_of_exactly_its_size() -> None:
    """The third lies where the first was, for they never meet, right before the second, which meets both."""
    regions = [Region("first", 256, 0, 0), Region("second", 256, 0, 30), Region("third", 256, 10, 30)]
    plan = plan_memory(regions, [], [], 2)
    assert [plan.slots[region.name].offset for region in regions] == [0, 256, 0]
    assert plan.roles == (("scratch", Role.SCRATCH, 512),)


def test_scratch_memory_rests_for_some_tasks_before_its_next_use() -> None:
    near = plan_memory([Region("a", 64, 0, 0), Region("b", 64, REUSE_DISTANCE, 9)], [], [], 2)
    far = plan_memory([Region("a", 64, 0, 0), Region("b", 64, REUSE_DISTANCE + 1, 9)], [], [], 2)
    assert (near.slots["b"].offset, far.slots["b"].offset) == (64, 0)


def test_scratch_memory_may_rest_before_as_well_as_behind() -> None:
    """The larger one is placed first, whichever is used first."""
    near = plan_memory([Region("a", 64, 0, 0), Region("b", 128, REUSE_DISTANCE, 9)], [], [], 2)
    far = plan_memory([Region("a", 64, 0, 0), Region("b", 128, REUSE_DISTANCE + 1, 9)], [], [], 2)
    assert (near.slots["a"].offset, far.slots["a"].offset) == (128, 0)
    assert (near.roles[0][2], far.roles[0][2]) == (192, 128)


def test_buffers_are_numbered_from_the_first_and_sizes_are_exact() -> None:
    regions = [Region("in", 100, 0, 1), Region("mid", 65, 0, 3), Region("more", 1, 1, 3), Region("out", 7, 2, 3)]
    plan = plan_memory(regions, ["in", "in"], ["out", "out"], 5)
    assert plan.roles == (("in", Role.INPUT, 100), ("out", Role.OUTPUT, 7), ("scratch", Role.SCRATCH, 129))
    assert {name: (slot.buffer, slot.offset) for name, slot in plan.slots.items()} == {
        "in": (5, 0),
        "out": (6, 0),
        "mid": (7, 0),
        "more": (7, 128),
    }
    assert plan_memory(regions[:1], ["in"], [], 0).roles == (("in", Role.INPUT, 100),)


def test_a_gap_that_is_a_byte_too_small_is_left() -> None:
    regions = [Region("first", 256, 0, 0), Region("second", 320, 0, 30), Region("third", 257, 10, 30)]
    plan = plan_memory(regions, [], [], 2)
    assert [plan.slots[region.name].offset for region in regions] == [320, 0, 320]
