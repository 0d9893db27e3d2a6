"""A short piece of the attack of attack_server.py, always the same."""

from __future__ import annotations

import collections
import random
import time
from pathlib import Path

import numpy as np
import pytest
import strangers
import zmq
from frigate_client import FrigateClient
from served import Served

import rocketnpu

ACTIONS, SEED = 150, 7


@pytest.fixture(scope="module")
def target(served: Served, models: Path) -> strangers.Target:
    source = np.random.default_rng(3)
    pictures = source.integers(0, 256, (24, 16, 16, 3), np.uint8)
    with rocketnpu.Inference(models / "classifier.tflite", device="simulator") as inference:
        scores = np.stack([inference.run([one[None]])[0].reshape(-1) for one in pictures])
    frame = source.integers(0, 256, (32, 32, 3), np.uint8)
    endpoint, context = f"ipc://{models}/frigate", zmq.Context.instance()
    client = FrigateClient(context, endpoint)
    boxes = client.detect(frame)
    client.close()
    assert boxes.any()
    return strangers.Target(served.address, endpoint, pictures, scores, frame, boxes, context)


def test_strangers_get_right_answers_or_none_and_leave_nothing(served: Served, target: strangers.Target) -> None:
    draw, tally = random.Random(SEED), collections.Counter[tuple[str, str]]()
    assert strangers.sound(target, draw) == "200"
    before = served.descriptors, served.threads
    for _ in range(ACTIONS):
        tally[strangers.act(target, draw)] += 1
    assert {action.__name__ for action in strangers.ACTIONS} <= {action for action, _ in tally} | {"huge", "heavy_text"}
    assert tally["sound", "200"] > 10
    assert tally["damaged", "400"] > 10
    end = time.monotonic() + 30
    while (served.descriptors > before[0] or served.threads > before[1]) and time.monotonic() < end:
        time.sleep(0.1)
    assert served.descriptors <= before[0]
    assert served.threads <= before[1]
    assert strangers.sound(target, draw) == "200"
    assert "Traceback" not in served.log, served.log


def test_a_wrong_answer_would_be_seen(served: Served, target: strangers.Target) -> None:
    lied = strangers.Target(**{**vars(target), "scores": target.scores ^ 1, "boxes": target.boxes + 1})
    draw = random.Random(1)
    with pytest.raises(strangers.WrongError, match="wrong scores"):
        strangers.sound(lied, draw)
    with pytest.raises(strangers.WrongError, match="wrong boxes"):
        _ = [strangers.camera(lied, draw) for _ in range(20)]
