"""Run one delegate very often, then make very many delegates, and watch memory, descriptors and threads.

    python tests/attack/soak.py [--inferences 20000] [--delegates 2000]

A tenth of each is run before the first look, so that caches and the allocator's pools have filled. The slope is that of
the least squares' line through all looks. Every answer is held against the first one to the same question. Exit status
1 if memory grows by more than LARGEST_SLOPE, or a descriptor or a thread is left.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "delegate")]

import numpy as np  # noqa: E402
from ai_edge_litert.interpreter import Interpreter  # noqa: E402
from delegate_bench import chain, outputs, same, set_noise  # noqa: E402

from rocketnpu.delegate import Delegate  # noqa: E402

LOOKS, WARM = 40, 10
"""Looks in all, and the share (one of so many) that is run before the first."""
LARGEST_SLOPE = 64.0
"""KiB of resident memory for 1000 repetitions."""
QUESTIONS = 16
MODEL = chain("npu", "cpu", "npu", size=8)
OPTIONS = {"device": "simulator", "cache": "off", "minimum_macs": 0}


def inferences() -> Callable[[int], None]:
    """Return what runs one inference, always of the same interpreter."""
    delegate = Delegate(**OPTIONS)
    interpreter = Interpreter(model_content=MODEL, experimental_delegates=[delegate])
    interpreter.allocate_tensors()
    answers: dict[int, list[np.ndarray]] = {}

    def once(number: int) -> None:
        set_noise(interpreter, number % QUESTIONS)
        interpreter.invoke()
        found = outputs(interpreter)
        if not same(found, answers.setdefault(number % QUESTIONS, found)):
            raise SystemExit(f"soak: inference {number} gave another answer")

    return once


def delegates() -> Callable[[int], None]:
    """Return what makes a delegate and an interpreter, runs them once, and drops both."""
    answers: list[list[np.ndarray]] = []

    def once(number: int) -> None:
        delegate = Delegate(**OPTIONS)
        interpreter = Interpreter(model_content=MODEL, experimental_delegates=[delegate])
        interpreter.allocate_tensors()
        set_noise(interpreter)
        interpreter.invoke()
        found = outputs(interpreter)
        if not answers:
            answers.append(found)
        if not same(found, answers[0]):
            raise SystemExit(f"soak: delegate {number} gave another answer")

    return once


def look() -> tuple[float, int, int]:
    """Return KiB of resident memory, open descriptors and threads."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1024
    return resident, len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))


def soak(name: str, once: Callable[[int], None], count: int) -> bool:
    """Repeat, look, and print; return whether all stayed flat."""
    began, places, looks = time.monotonic(), [], []
    marks = set(np.linspace(count // WARM, count, LOOKS).astype(int).tolist())
    for number in range(count + 1):
        if number in marks:
            places.append(number)
            looks.append(look())
        once(number)
    memory, files, threads = (np.array(column) for column in zip(*looks, strict=True))
    slope = float(np.polyfit(places, memory, 1)[0]) * 1000
    print(
        f"{count} {name} in {time.monotonic() - began:.0f} s: memory {memory[0] / 1024:.1f} MB at first, "
        f"{memory[-1] / 1024:.1f} MB at last, at most {memory.max() / 1024:.1f} MB, slope {slope:+.1f} KiB for 1000; "
        f"descriptors {files[0]} to {files[-1]}; threads {threads[0]} to {threads[-1]}",
        flush=True,
    )
    return slope < LARGEST_SLOPE and files[-1] <= files[0] and threads[-1] <= threads[0]


def main() -> int:
    """Soak both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--inferences", type=int, default=20_000)
    parser.add_argument("--delegates", type=int, default=2_000)
    given = parser.parse_args()
    flat = [
        soak("inferences", inferences(), given.inferences),
        soak("delegates", delegates(), given.delegates),
    ]
    return int(not all(flat))


if __name__ == "__main__":
    sys.exit(main())
