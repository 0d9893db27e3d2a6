"""How fast command streams are taken apart and replayed: words a second, simulated multiply-accumulates a second."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

# One thread, as a user's machine would be shared: before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from rocketnpu.rockchip.streams.disassembly import describe, disassemble, to_text
from rocketnpu.rockchip.streams.recording import load
from rocketnpu.rockchip.streams.replay import Machine, replay_tasks


def seconds(step, runs: int) -> float:
    """Return the shortest time of one call."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    packaged = sorted((Path(__file__).resolve().parents[1] / "tests" / "data" / "golden").glob("*.zip"))
    parser.add_argument("recordings", nargs="*", type=Path, default=packaged, help="recordings or failure bundles")
    parser.add_argument("-n", "--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    found = [disassemble(path) for path in arguments.recordings]
    recordings = [load(path) for path in arguments.recordings]
    words = sum(len(one.words) for one in found)
    outcomes = [outcome for recording in recordings for outcome in replay_tasks(recording)]
    macs = sum(outcome.macs for outcome in outcomes)

    def simulate() -> None:
        for recording in recordings:
            for number, submission in enumerate(recording.submissions):
                machine = Machine(submission, number, strict=False)
                for job in submission.jobs:
                    machine.begin()
                    for index, task in enumerate(job.tasks):
                        machine.run(task, index)

    def text() -> None:
        describe.cache_clear()
        for one in found:
            to_text(one)

    disassembled = seconds(text, arguments.runs)
    simulated = seconds(simulate, arguments.runs)
    checked = seconds(lambda: [replay_tasks(recording) for recording in recordings], arguments.runs)
    figures = {
        "recordings": len(recordings),
        "tasks": len(outcomes),
        "command words": words,
        "disassemble [words/s]": round(words / disassembled),
        "replay, simulator alone [words/s]": round(words / simulated),
        "replay, simulator alone [1e9 MAC/s]": round(macs / simulated / 1e9, 2),
        "replay with the integer model [words/s]": round(words / checked),
        "replay with the integer model [1e9 MAC/s]": round(macs / checked / 1e9, 2),
    }
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name:42} {value:>12,}")


if __name__ == "__main__":
    main()
