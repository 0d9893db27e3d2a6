import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import DeviceError, SimulationError
from rocketnpu.rockchip.simulator import Memory

WHERE = {"unit": "CNA", "register": "FEATURE_DATA_ADDR"}


def filled(size=256):
    return np.arange(size, dtype=np.uint8)


def test_views_share_the_buffer():
    memory, data = Memory(), filled()
    memory.map(0x1000, data)
    view = memory.view(0x1010, (4,), **WHERE)
    data[0x10] = 99
    assert view.tolist() == [99, 17, 18, 19]


def test_address_zero_and_the_last_address_are_legitimate():
    memory = Memory()
    memory.map(0, filled(16))
    memory.map((1 << 32) - 16, filled(16))
    assert memory.view((1 << 32) - 1, (1,), **WHERE)[0] == 15


@pytest.mark.parametrize("address", [0xF01, 0x1000, 0x10FF, 0x1080])
def test_overlap_is_refused(address):
    memory = Memory()
    memory.map(0x1000, filled())
    with pytest.raises(DeviceError, match="overlaps"):
        memory.map(address, filled())


@pytest.mark.parametrize(("address", "size"), [(-16, 16), ((1 << 32) - 8, 16), (0, 0)])
def test_mappings_outside_the_address_space_are_refused(address, size):
    with pytest.raises(DeviceError, match="cannot map"):
        Memory().map(address, np.zeros(size, np.uint8))


def test_unmapped_memory_is_gone():
    memory = Memory()
    memory.map(0x1000, filled())
    memory.unmap(0x1000)
    with pytest.raises(SimulationError, match="leaves the mapped buffers"):
        memory.view(0x1000, (1,), **WHERE)
    with pytest.raises(DeviceError, match="no buffer starts"):
        memory.unmap(0x1000)


def test_an_error_names_unit_register_range_and_neighbour():
    memory = Memory()
    memory.map(0x1000, filled())
    with pytest.raises(SimulationError) as caught:
        memory.view(0x10F0, (17,), **WHERE)
    assert (caught.value.unit, caught.value.register) == ("CNA", "FEATURE_DATA_ADDR")
    assert "0x10f0..0x1100" in str(caught.value)
    assert "0x1000..0x10ff" in str(caught.value)


def test_a_view_does_not_run_into_the_next_buffer():
    memory = Memory()
    memory.map(0x1000, filled())
    memory.map(0x1100, filled())
    with pytest.raises(SimulationError):
        memory.view(0x10FF, (2,), **WHERE)


def test_writing_needs_writable_memory():
    memory = Memory()
    memory.map(0x1000, bytes(16))
    assert memory.view(0x1000, (16,), **WHERE).sum() == 0
    with pytest.raises(SimulationError, match="read-only"):
        memory.view(0x1000, (16,), write=True, **WHERE)


@given(
    st.integers(0, 255),
    st.lists(st.tuples(st.integers(1, 4), st.integers(-64, 64)), min_size=1, max_size=3),
)
def test_a_view_is_either_right_or_refused(offset, walk):
    memory, data = Memory(), filled()
    memory.map(0x1000, data)
    shape, strides = [count for count, _ in walk], [step for _, step in walk]
    places = [offset + sum(i * s for i, s in zip(index, strides, strict=True)) for index in np.ndindex(*shape)]
    if all(0 <= place < 256 for place in places):
        view = memory.view(0x1000 + offset, shape, strides, **WHERE)
        assert view.reshape(-1).tolist() == places
    else:
        with pytest.raises(SimulationError):
            memory.view(0x1000 + offset, shape, strides, **WHERE)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 6)), max_size=12), st.integers(0, 64), st.integers(1, 20))
def test_what_lies_between_two_addresses_and_where_nothing_does(
    buffers: list[tuple[int, int]], low: int, size: int
) -> None:
    memory, taken = Memory(), {}
    for address, length in buffers:
        places = range(address, address + length)
        if not any(place in taken for place in places):
            memory.map(address, bytes(length))
            taken |= dict.fromkeys(places, address)
    within = range(low, low + size)
    assert memory.starts_within(low, low + size) == sorted({taken[place] for place in within if place in taken})
    free = [
        start for start in range(low, 80 - size + 1) if not any(place in taken for place in range(start, start + size))
    ]
    assert memory.gap(size, low, 80) == (free[0] if free else None)
