"""Room for streams: what the kernel has, in powers of two of its granules, and never twice."""

from __future__ import annotations

import errno
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.verisilicon.drivers import etnaviv_space
from rocketnpu.verisilicon.drivers.etnaviv_space import CommandSpace
from rocketnpu.verisilicon.drivers.etnaviv_uapi import MAX_STREAM


@pytest.mark.parametrize(
    ("size", "granules"), [(0, 1), (4, 1), (4088, 1), (4092, 2), (8184, 2), (8192, 4), (65_528, 16), (MAX_STREAM, 64)]
)
def test_a_stream_takes_a_power_of_two(size: int, granules: int) -> None:
    assert CommandSpace().take(size) == (0, granules)


@given(st.lists(st.one_of(st.integers(0, MAX_STREAM), st.integers(-9, -1)), max_size=60))
def test_rooms_are_apart_and_come_back(steps: list[int]) -> None:
    space, held = CommandSpace(), []
    etnaviv_space.SECONDS, before = 0.0, etnaviv_space.SECONDS
    try:
        for step in steps:
            if step < 0:
                if held:
                    space.give_back(held.pop(step % len(held)))
                continue
            try:
                room = space.take(step)
            except OSError as error:
                assert error.errno == errno.ETIMEDOUT  # noqa: PT017
                continue
            assert room[0] % room[1] == 0
            assert room[0] + room[1] <= 128
            taken = {place for first, count in held for place in range(first, first + count)}
            assert taken.isdisjoint(range(room[0], sum(room)))
            held.append(room)
    finally:
        etnaviv_space.SECONDS = before
    for room in held:
        space.give_back(room)
    assert [space.take(0) for _ in range(128)] == [(place, 1) for place in range(128)]


def test_who_waits_goes_on_when_room_comes_free() -> None:
    space = CommandSpace()
    rooms = [space.take(0) for _ in range(128)]
    found: list[tuple[int, int]] = []
    waiter = threading.Thread(target=lambda: found.append(space.take(4092)))
    waiter.start()
    space.give_back(rooms[5])
    time.sleep(0.05)
    assert found == [], "two granules that lie together are needed"
    space.give_back(rooms[4])
    waiter.join(20)
    assert found == [(4, 2)]
