"""Attack a server with many clients at once, outside CI, and look at what it holds afterwards.

    python tests/serving/attack_server.py [--seconds 120] [--clients 8] [--seed 1]

The server runs both small models on an emulated NPU, by the real driver's door. Clients do what strangers.py draws; in
the middle the NPU goes away for some seconds and another one comes. Wrong answers, statuses that the protocol does not
have, a traceback in the server's log, descriptors or threads that stay, and memory that grows from half to half
are failures. Exit status 1 if there is any.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "serving")]

import numpy as np  # noqa: E402
import strangers  # noqa: E402
import zmq  # noqa: E402
from frigate_client import FrigateClient  # noqa: E402
from served import Served  # noqa: E402

import rocketnpu  # noqa: E402
from picture_models import classifier, detector  # noqa: E402
from rocketnpu.emulator import EmulatedNode, node, shim_library  # noqa: E402

WARM_ACTIONS = 400
"""Before what the server holds is measured: buffers and pools have their size by then."""
GROWTH = 32 << 20
"""Bytes of memory that the second half may need beyond the first: which large bodies meet is chance."""
WORKERS = 6
HELD = ("descriptors", "threads")
OUTAGE_SECONDS = 5.0


def main() -> int:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, zmq.Context() as context:
        folder = Path(name)
        (folder / "classifier.tflite").write_bytes(classifier())
        (folder / "detector.tflite").write_bytes(detector())
        return attack(folder, context, options)


def attack(folder: Path, context: zmq.Context[Any], options: argparse.Namespace) -> int:
    """Attack a server of the models in a folder."""
    place = folder / "node"

    def make(**_options: str) -> str:
        place.mkdir()
        return str(place)

    node.tempfile.mkdtemp = make  # each NPU stands where the last one stood
    npu = EmulatedNode()
    words = [word for kind in ("classifier", "detector") for word in ("-m", folder / f"{kind}.tflite")]
    endpoint = f"ipc://{folder}/frigate"
    with Served(
        *words, "-d", "rocket", "--allow-unproven", "--frigate", endpoint, environment=npu.environment(shim_library())
    ) as server:
        target = target_of(folder, server, endpoint, context)
        tally: collections.Counter[tuple[str, str]] = collections.Counter()
        failures: list[str] = []
        draw = random.Random(options.seed)
        for _ in range(WARM_ACTIONS):
            tally[strangers.act(target, draw)] += 1
        time.sleep(2)
        before = server.descriptors, server.threads
        end = time.monotonic() + options.seconds
        threads = [
            threading.Thread(target=client, args=(target, options.seed * 1000 + number, end, tally, failures))
            for number in range(options.clients)
        ]
        for thread in threads:
            thread.start()
        halves = [peak(server, options.seconds / 2)]
        npu.stop()
        time.sleep(OUTAGE_SECONDS)
        npu = EmulatedNode()
        halves.append(peak(server, options.seconds / 2 - OUTAGE_SECONDS))
        for thread in threads:
            thread.join()
        print("at most {} MB in the first half, {} MB in the second".format(*(half >> 20 for half in halves)))
        if halves[1] > halves[0] + GROWTH:
            failures.append("memory grows")
        failures += settled(server, target, before)
    npu.stop()
    if "Traceback" in server.log:
        failures.append(f"a traceback in the log:\n{server.log[-4000:]}")
    return report(tally, failures, server)


def target_of(folder: Path, server: Served, endpoint: str, context: zmq.Context[Any]) -> strangers.Target:
    """Return the server with what is right of it, asked of the simulator."""
    source = np.random.default_rng(3)
    pictures = source.integers(0, 256, (24, 16, 16, 3), np.uint8)
    with rocketnpu.Inference(folder / "classifier.tflite", device="simulator") as inference:
        scores = np.stack([inference.run([one[None]])[0].reshape(-1) for one in pictures])
    frame = source.integers(0, 256, (32, 32, 3), np.uint8)
    client = FrigateClient(context, endpoint)
    boxes = client.detect(frame)
    client.close()
    return strangers.Target(server.address, endpoint, pictures, scores, frame, boxes, context)


def client(
    target: strangers.Target,
    seed: int,
    end: float,
    tally: collections.Counter[tuple[str, str]],
    failures: list[str],
) -> None:
    """Do one thing after another until the end."""
    draw = random.Random(seed)
    while time.monotonic() < end:
        try:
            tally[strangers.act(target, draw)] += 1
        except Exception as error:
            failures.append(f"seed {seed}: {type(error).__name__}: {error}")


def peak(server: Served, seconds: float) -> int:
    """Return the most memory that the server holds within some time, looked at each half second."""
    end, found = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        found = max(found, server.resident)
        time.sleep(0.5)
    return found


def settled(server: Served, target: strangers.Target, before: tuple[int, int]) -> list[str]:
    """Wait until the server has come to rest, and return what it still holds that it must not."""
    end = time.monotonic() + 60
    while True:
        now = server.descriptors, server.threads
        back = server.figure("rocketnpu_workers") == WORKERS
        if (back and now[0] <= before[0] and now[1] <= before[1]) or time.monotonic() > end:
            break
        time.sleep(0.5)
    told = [f"{one} {name} before, {other} after" for name, one, other in zip(HELD, before, now, strict=True)]
    print("; ".join(told))
    kept = [text for text, one, other in zip(told, before, now, strict=True) if other > one]
    if not back:
        kept.append("workers that did not come back")
    if strangers.sound(target, random.Random(0)) != "200":
        kept.append("a sound request is not answered")
    return kept


def report(tally: collections.Counter[tuple[str, str]], failures: list[str], server: Served) -> int:
    """Print the tally and the failures; return the exit status."""
    names = sorted({action for action, _ in tally})
    for name in names:
        told = ", ".join(f"{outcome} x{count}" for (action, outcome), count in sorted(tally.items()) if action == name)
        print(f"{name:18} {told}")
    print(f"{sum(tally.values())} things done; {len(server.lines)} lines in the server's log")
    for failure in failures[:20]:
        print(f"FAILURE: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
