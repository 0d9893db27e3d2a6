"""MobileNetV1 on the simulators of two makers' chips: stock Mesa's recorded streams beside our RK3588 program.

    python benchmarks/etnaviv.py --recordings DIR [-m MODEL] [-n RUNS] [--json]

DIR holds a folder for each chip (a311d, imx8mp) with mobilenet_v1_1.0_224_quant.zip. One thread, runs interleaved, so
that a machine that drifts drifts for all. "first" is a run of a fresh simulator, which reads all coefficients; the
others are medians of later runs. Nothing is asserted.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.verisilicon.streams.machine import Machine
from rocketnpu.verisilicon.streams.recording import load
from rocketnpu.zoo import resolve

CHIPS = ("a311d", "imx8mp")
NAME = "mobilenet_v1_1.0_224_quant.zip"


def rk3588(model: str) -> Callable[[], None]:
    """Return one simulated inference of the NPU's part of a model on an RK3588."""
    graph = tflite.load(resolve(model))
    parts = plan(graph).parts
    device = SimulatorDevice()
    placed = [(part, PlacedProgram(device, compile_graph(part))) for part in parts]
    shapes = {number: graph.tensors[number] for part in parts for number in part.inputs}
    values = {number: np.zeros(tensor.shape, tensor.dtype.value) for number, tensor in shapes.items()}

    def run() -> None:
        for part, program in placed:
            program.run([values[number] for number in part.inputs])

    return run


def recorded(path: Path) -> Callable[[], None]:
    """Return one run of all submissions of a recording."""
    recording = load(path)
    machines = [Machine(item, recording.soc) for item in recording.submissions if item.buffers]

    def run() -> None:
        for machine in machines:
            machine.run()

    return run


def timed(step: Callable[[], None]) -> float:
    """Return the milliseconds of one call."""
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="recorded streams of two chips beside our program for the RK3588")
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("-m", "--model", default="mobilenet_v1")
    parser.add_argument("-n", "--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    steps = {"rk3588": rk3588(arguments.model)}
    steps |= {chip: recorded(arguments.recordings / chip / NAME) for chip in CHIPS}
    first = {name: timed(step) for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.runs):
        for name, step in steps.items():
            times[name].append(timed(step))
    medians = {name: statistics.median(values) for name, values in times.items()}
    figures = {
        f"{name} {what}": round(value, precision)
        for name in steps
        for what, value, precision in (
            ("first [ms]", first[name], 1),
            ("[ms]", medians[name], 1),
            ("first / rk3588 first", first[name] / first["rk3588"], 2),
            ("/ rk3588", medians[name] / medians["rk3588"], 2),
        )
    }
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name:32} {value:>10}")


if __name__ == "__main__":
    main()
