"""MobileNetV1 on this machine: compile time, simulated inference, memory; each against something run beside it.

    python benchmarks/mobilenet.py [-m MODEL] [-n RUNS] [--json]

Compares with LiteRT's own CPU time for the same network in the same process, one thread each, runs interleaved so that
a machine that drifts drifts for both. Figures are medians. Nothing is asserted.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.zoo import resolve


def interpreter(path: str, kernels: Any) -> Any:
    """Make a LiteRT interpreter of one thread."""
    made = Interpreter(path, num_threads=1, experimental_op_resolver_type=kernels)
    made.allocate_tensors()
    return made


def timed(step: Callable[[], object]) -> float:
    """Return the milliseconds of one call."""
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) * 1e3


def interleaved(steps: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Run all steps in turn, ``runs`` times after a first round, and return each one's median milliseconds."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(runs):
        for name, step in steps.items():
            times[name].append(timed(step))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="compile and simulate a model, against LiteRT on the CPU")
    parser.add_argument("-m", "--model", default="mobilenet_v1")
    parser.add_argument("-n", "--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    path = str(resolve(arguments.model))

    graph = tflite.load(path)
    parts = plan(graph).parts
    picture = np.random.default_rng(0).integers(0, 256, graph.tensors[graph.inputs[0]].shape, np.uint8)
    if graph.tensors[graph.inputs[0]].dtype.value == "int8":
        picture = (picture ^ 0x80).view(np.int8)
    device = SimulatorDevice()
    placed = [(part, PlacedProgram(device, compile_graph(part))) for part in parts]
    reference = interpreter(path, OpResolverType.BUILTIN_REF)
    builtin = interpreter(path, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    fastest = interpreter(path, OpResolverType.AUTO)
    for made in (reference, builtin, fastest):
        made.set_tensor(graph.inputs[0], picture)
    values = {graph.inputs[0]: picture}
    for part, program in placed:
        for number in part.inputs:
            values.setdefault(number, np.zeros(graph.tensors[number].shape, graph.tensors[number].dtype.value))
        values.update(zip(part.outputs, program.run([values[number] for number in part.inputs]), strict=True))

    def simulate() -> None:
        for part, program in placed:
            program.run([values[number] for number in part.inputs])

    def compile_all() -> None:
        for part in plan(tflite.load(path)).parts:
            compile_graph(part)

    found = interleaved(
        {
            "read, divide and compile": compile_all,
            "simulated inference": simulate,
            "LiteRT, reference kernels": reference.invoke,
            "LiteRT, built-in kernels": builtin.invoke,
            "LiteRT, XNNPACK": fastest.invoke,
        },
        arguments.runs,
    )
    macs = sum(task.macs for _, program in placed for task in program.program.tasks)
    simulated = found["simulated inference"]
    figures = {
        **{f"{name} [ms]": round(value, 1) for name, value in found.items()},
        "simulated / LiteRT built-in": round(simulated / found["LiteRT, built-in kernels"], 2),
        "simulated / LiteRT XNNPACK": round(simulated / found["LiteRT, XNNPACK"], 2),
        "simulated MACs [1e9/s]": round(macs / simulated / 1e6, 2),
        "peak memory of this process [MB]": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name:36} {value:>10}")


if __name__ == "__main__":
    main()
