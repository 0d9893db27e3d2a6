"""What several inferences in flight save: a core that only sleeps for its time, so that all else is the host's.

    python benchmarks/in_flight.py MODEL.tflite MILLISECONDS

Every line has as many cores, each asleep for MILLISECONDS an inference (what `rocketnpu estimate` says of the NPU's own
time), and so many inferences in flight; inferences a second, and the share of their time that the cores are busy. The
host packs, unpacks, checks and hands over as on a board, on this machine's processor; nothing is computed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from rocketnpu.compiler import compile_graph
from rocketnpu.delegate import delegate
from rocketnpu.device.base import DeviceJob
from rocketnpu.device.group import DeviceGroup, cores_of, run_many
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.inference import Inference
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy

RUNS = 200


class Sleeper(SimulatorDevice):
    """A core that writes zeros, and takes its time without a processor."""

    seconds = 0.0

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        """Sleep."""
        for job in jobs:
            for buffer in job.writes:
                np.frombuffer(self.map(buffer), np.uint8)[:] = 0
        time.sleep(self.seconds)


def main() -> None:
    path, Sleeper.seconds = sys.argv[1], float(sys.argv[2]) / 1e3
    policy = Policy("mainline", allow_unproven=False)
    graph = tflite.load(path)
    (part,) = plan(graph, policy).parts
    program = compile_graph(part, policy)
    shape = graph.tensors[graph.inputs[0]].shape
    batches = [[np.random.default_rng(0).integers(0, 256, shape, np.uint8)]] * RUNS
    print(f"{path}: {Sleeper.seconds * 1e3:g} ms on the NPU")
    for cores in (1, 3):
        for in_flight in (cores, 2 * cores):
            with DeviceGroup(lambda _: Sleeper(), cores) as group:
                start = time.perf_counter()
                run_many(cores_of(group), program, batches, in_flight=in_flight // cores)
                show("program", cores, in_flight, time.perf_counter() - start)
            whole(path, cores, in_flight, batches)


def whole(path: str, cores: int, in_flight: int, batches: Sequence[Any]) -> None:
    """The same through LiteRT."""
    opened = delegate.open_device
    delegate.open_device = lambda *_, **__: DeviceGroup(lambda _: Sleeper(), cores)  # type: ignore[assignment]
    try:
        with Inference(path, device="simulator", target="mainline", cores=cores, in_flight=in_flight) as inference:
            inference.run_many(batches[: 2 * in_flight])
            start = time.perf_counter()
            inference.run_many(batches)
            show("LiteRT", cores, in_flight, time.perf_counter() - start)
    finally:
        delegate.open_device = opened


def show(what: str, cores: int, in_flight: int, elapsed: float) -> None:
    busy = RUNS * Sleeper.seconds / cores / elapsed
    print(f"{what:8} {cores} cores, {in_flight} in flight: {RUNS / elapsed:6.1f} a second, busy {busy:.0%}")


if __name__ == "__main__":
    main()
