"""Turns go to whoever has waited for longest."""

from __future__ import annotations

import threading
import time

import pytest

from rocketnpu.device.one_at_a_time import FairTurns


def until(turns: FairTurns, waiting: int) -> None:
    for _ in range(3000):
        if len(turns._waiting) == waiting:
            return
        time.sleep(0.01)
    pytest.fail(f"{len(turns._waiting)} threads wait, not {waiting}")


def test_in_the_order_of_asking_and_not_back_to_who_gave() -> None:
    turns, order = FairTurns(), []

    def work(number: int) -> None:
        with turns.turn():
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    with turns.turn(), turns.turn():
        for number, thread in enumerate(threads):
            thread.start()
            until(turns, number + 1)
    work(9)
    for thread in threads:
        thread.join(30)
    assert order == [0, 1, 2, 3, 4, 9]
    work(10)
    assert order[-1] == 10


def test_one_at_a_time() -> None:
    turns, inside, most = FairTurns(), [0], [0]

    def work() -> None:
        for _ in range(200):
            with turns.turn():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                with turns.turn():
                    inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (inside, most) == ([0], [1])


def test_who_is_interrupted_while_waiting_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    turns = FairTurns()
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with turns.turn():
            held.set()
            go.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    with monkeypatch.context() as patched:
        patched.setattr("rocketnpu.device.one_at_a_time.threading.Event", Interrupted)
        with pytest.raises(KeyboardInterrupt), turns.turn():
            pass
    go.set()
    holder.join(30)
    with turns.turn():
        assert not turns._waiting
