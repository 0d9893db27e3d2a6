"""Many items at once: order, errors, what is taken ahead, and the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from rocketnpu.errors import DeviceError, InputError, SomeFailedError
from rocketnpu.pipeline import Crew, Pipeline


def odd_ones_fail(number: int) -> int:
    if number % 2:
        raise InputError(f"{number} is odd")
    return 10 * number


def test_results_come_in_the_order_of_items_whoever_ends_first() -> None:
    last = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert last.wait(30)
        if number == 2:
            last.set()
        return 10 * number

    with Pipeline(work, 3) as pipeline:
        assert list(pipeline.results(range(8))) == [0, 10, 20, 30, 40, 50, 60, 70]


@pytest.mark.parametrize(("ahead", "most"), [(None, 4), (0, 2), (1, 3)])
def test_no_more_items_are_taken_than_there_is_room_for(ahead: int | None, most: int) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    with Pipeline(lambda number: number, 2, ahead) as pipeline:
        found = pipeline.outcomes(source())
        assert taken == []
        for number in range(10):
            assert next(found).result() == number
            assert len(taken) == number + most
        found.close()
    assert len(taken) == 9 + most


def test_an_error_is_its_items_and_the_others_are_there() -> None:
    with Pipeline(odd_ones_fail, 2) as pipeline:
        with pytest.raises(SomeFailedError, match="2 of 5 failed; the first is number 1: 1 is odd") as caught:
            pipeline.gather(range(5))
        assert caught.value.failed == (1, 3)
        assert [caught.value.outcomes[number] for number in (0, 2, 4)] == [0, 20, 40]
        found = pipeline.results(range(5))
        assert next(found) == 0
        with pytest.raises(InputError, match="1 is odd"):
            next(found)


def test_a_fault_of_ours_is_no_failed_item() -> None:
    with Pipeline(lambda number: 1 // number, 2) as pipeline, pytest.raises(ZeroDivisionError):
        pipeline.gather([1, 0, 1])


def test_items_before_a_broken_source_are_ended() -> None:
    def source() -> Iterator[int]:
        yield from (0, 2)
        raise InputError("the film tore")

    with Pipeline(odd_ones_fail, 2) as pipeline:
        results = pipeline.results(source())
        assert [next(results), next(results)] == [0, 20]
        with pytest.raises(InputError, match="the film tore"):
            next(results)


def test_closing_waits_for_what_has_begun_and_drops_the_rest() -> None:
    begun, go = threading.Event(), threading.Event()

    def work(number: int) -> int:
        begun.set()
        assert go.wait(30)
        return number

    pipeline = Pipeline(work, 1)
    first, second = pipeline.submit(1), pipeline.submit(2)
    assert begun.wait(30)
    threading.Timer(0.05, go.set).start()
    pipeline.close()
    assert first.result(0) == 1
    assert second.cancelled()
    pipeline.close()


def test_a_crew_lends_in_turn_and_one_caller_at_a_time() -> None:
    crew = Crew("ab")
    with crew.lend() as first, crew.lend() as second:
        assert (first, second) == ("a", "b")
        waiting = threading.Thread(target=lambda: crew.lend().__enter__())
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive(), "nobody is free"
    waiting.join(30)
    assert not waiting.is_alive()


def test_a_dismissed_crew_lends_nobody() -> None:
    crew = Crew("ab")
    ended = threading.Event()

    def dismiss() -> None:
        crew.dismiss()
        ended.set()

    with crew.lend():
        threading.Thread(target=dismiss).start()
        assert not ended.wait(0.05), "dismissing waits for who works"
    assert ended.wait(30)
    crew.dismiss()
    with pytest.raises(DeviceError, match="closed"), crew.lend():
        pass


def test_in_a_forked_child_all_are_free() -> None:
    crew = Crew("a")
    with crew.lend():
        child = os.fork()
        if not child:
            with crew.lend() as worker:
                os._exit(worker != "a")
    assert os.waitpid(child, 0)[1] == 0
