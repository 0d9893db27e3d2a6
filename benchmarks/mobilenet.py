"""Networks on this machine: compile time, simulated inference, memory; each against something run beside it.

    python benchmarks/mobilenet.py [-m MODEL ...] [-n RUNS] [--threads N] [--json]

Compares with LiteRT's own time for the same network in the same process, one thread each, runs interleaved so that a
machine that drifts drifts for both. Figures are medians of CPU time, which other programs on the machine disturb least;
with ``--threads`` of elapsed time. Nothing is asserted.
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
from rocketnpu.graph import Graph
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.rockchip.simulator.compiled.library import find_kernel
from rocketnpu.zoo import resolve


def interpreter(path: str, kernels: Any) -> Any:
    """Make a LiteRT interpreter of one thread."""
    made = Interpreter(path, num_threads=1, experimental_op_resolver_type=kernels)
    made.allocate_tensors()
    return made


def timed(step: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the milliseconds of one call."""
    start = clock()
    step()
    return (clock() - start) * 1e3


def interleaved(steps: dict[str, Callable[[], object]], runs: int, clock: Callable[[], float]) -> dict[str, float]:
    """Run all steps in turn, ``runs`` times after a first round, and return each one's median milliseconds."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(runs):
        for name, step in steps.items():
            times[name].append(timed(step, clock))
    return {name: statistics.median(values) for name, values in times.items()}


class Simulated:
    """A model's parts on the simulator, with inputs."""

    def __init__(self, graph: Graph, picture: Any, **options: Any) -> None:
        device = SimulatorDevice(**options)
        self.placed = [(part, PlacedProgram(device, compile_graph(part))) for part in plan(graph).parts]
        self._values = {graph.inputs[0]: picture}
        for part, program in self.placed:
            for number in part.inputs:
                tensor = graph.tensors[number]
                self._values.setdefault(number, np.zeros(tensor.shape, tensor.dtype.value))
            found = program.run([self._values[number] for number in part.inputs])
            self._values.update(zip(part.outputs, found, strict=True))

    def run(self) -> None:
        """Run one inference."""
        for part, program in self.placed:
            program.run([self._values[number] for number in part.inputs])

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the network."""
        return sum(task.macs for _, program in self.placed for task in program.program.tasks)


def figures(path: str, runs: int, threads: int) -> dict[str, Any]:
    """Measure one model."""
    graph = tflite.load(path)
    picture = np.random.default_rng(0).integers(0, 256, graph.tensors[graph.inputs[0]].shape, np.uint8)
    if graph.tensors[graph.inputs[0]].dtype.value == "int8":
        picture = (picture ^ 0x80).view(np.int8)
    compiled, plain = Simulated(graph, picture, threads=threads), Simulated(graph, picture, compiled=False)
    kernels = {
        "LiteRT, reference kernels": OpResolverType.BUILTIN_REF,
        "LiteRT, built-in kernels": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "LiteRT, XNNPACK": OpResolverType.AUTO,
    }
    made = {name: interpreter(path, kind) for name, kind in kernels.items()}
    for one in made.values():
        one.set_tensor(graph.inputs[0], picture)

    def compile_all() -> None:
        for part in plan(tflite.load(path)).parts:
            compile_graph(part)

    found = interleaved(
        {
            "read, divide and compile": compile_all,
            "simulated inference": compiled.run,
            "simulated inference, NumPy alone": plain.run,
            **{name: one.invoke for name, one in made.items()},
        },
        runs,
        time.perf_counter if threads > 1 else time.process_time,
    )
    simulated, built_in = found["simulated inference"], found["LiteRT, built-in kernels"]
    return {
        "model": graph.name,
        "arithmetic": "compiled" if find_kernel() else "NumPy: there is no C compiler",
        **{f"{name} [ms]": round(value, 1) for name, value in found.items()},
        "simulated / LiteRT built-in": round(simulated / built_in, 2),
        "NumPy alone / LiteRT built-in": round(found["simulated inference, NumPy alone"] / built_in, 2),
        "simulated / LiteRT XNNPACK": round(simulated / found["LiteRT, XNNPACK"], 2),
        "compile / LiteRT built-in": round(found["read, divide and compile"] / built_in, 2),
        "simulated MACs [1e9/s]": round(compiled.macs / simulated / 1e6, 2),
        "peak memory of this process [MB]": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="compile and simulate models, against LiteRT on the CPU")
    parser.add_argument("-m", "--model", action="append", help="MobileNetV1 where not given")
    parser.add_argument("-n", "--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="of the simulator")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    names = arguments.model or ["mobilenet_v1"]
    found = [figures(str(resolve(name)), arguments.runs, arguments.threads) for name in names]
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for one in found:
        for name, value in one.items():
            print(f"{name:36} {value:>10}")


if __name__ == "__main__":
    main()
