"""Damaged files give a graph or a reason, quickly; and what is accepted does not crash LiteRT."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import MODELS, damaged, rewritten
from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.graph import Graph
from rocketnpu.model.tflite import parse

MUTATIONS = int(os.environ.get("ROCKETNPU_MUTATIONS", "4000"))
"""How many damaged files are read; set it higher for a long run."""
SLOWEST = 2.0
"""Seconds that any one file may take."""
RUN = Path(__file__).with_name("run_damaged.py")


def read(data: bytes) -> Graph | str:
    """Parse; only the two documented errors may pass."""
    try:
        return parse(data)
    except (ModelError, UnsupportedError) as error:
        return str(error)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("damage", [damaged, rewritten])
def test_damage_is_refused_with_a_reason_or_read(make, damage) -> None:
    whole = make()
    assert isinstance(read(whole), Graph)
    count = MUTATIONS // 3 if damage is damaged else MUTATIONS // 40
    refused, slowest = 0, 0.0
    for seed in range(count):
        data = damage(whole, seed)
        began = time.perf_counter()
        found = read(data)
        slowest = max(slowest, time.perf_counter() - began)
        if isinstance(found, str):
            assert len(found) > 10
            refused += 1
    assert slowest < SLOWEST
    assert count / 4 < refused < count


@pytest.mark.parametrize("make", MODELS)
def test_every_truncation_is_refused(make) -> None:
    whole = make()
    for length in range(0, len(whole) - 1, 7):
        assert isinstance(read(whole[:length]), str), length


@settings(max_examples=150)
@given(st.binary(max_size=400))
def test_noise_behind_the_identifier_is_refused(noise: bytes) -> None:
    assert isinstance(read(noise[:4].ljust(4, b"\0") + b"TFL3" + noise[4:]), str)


@settings(max_examples=150)
@given(st.sampled_from(MODELS), st.data())
def test_any_two_changed_bytes(make, data: st.DataObject) -> None:
    found = bytearray(make())
    for _ in range(2):
        found[data.draw(st.integers(0, len(found) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(found))


def test_claims_of_huge_lists_take_no_memory() -> None:
    whole = MODELS[0]()
    tracemalloc.start()
    try:
        for place in range(0, len(whole) - 4, 12):
            read(whole[:place] + (0x0FFFFFFF).to_bytes(4, "little") + whole[place + 4 :])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


@pytest.mark.parametrize("resolver", ["BUILTIN", "BUILTIN_REF"])
@pytest.mark.parametrize("how", ["damaged", "rewritten"])
def test_what_is_read_does_not_crash_litert(how: str, resolver: str) -> None:
    """A child process runs accepted files one by one and prints each seed first, so that a crash names its file."""
    count = MUTATIONS // 8 if how == "damaged" else MUTATIONS // 40
    done = subprocess.run(
        [sys.executable, RUN, how, resolver, str(count)], capture_output=True, text=True, check=False, timeout=600
    )
    last = done.stdout.split()[-1:] or ["none"]
    if done.returncode < 0:
        pytest.fail(f"seed {last[0]} of {how} stops LiteRT with {signal.Signals(-done.returncode).name}")
    assert done.returncode == 0, done.stderr
    assert last == ["done"]
    assert len(done.stdout.split()) > count / 40
