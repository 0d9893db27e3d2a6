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
