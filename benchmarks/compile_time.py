"""Compile time of networks, another checkout's beside this one's, and beside LiteRT's own time for the same model.

    python benchmarks/compile_time.py [-m MODEL ...] [--before CHECKOUT] [-n RUNS] [--json]

Reading, dividing and compiling are timed in a fresh process for each checkout, in turns, so that a machine that drifts
drifts for both. Figures are medians of CPU milliseconds, one thread. Nothing is asserted. Where no model is named:
MobileNetV1, and YOLOv8n's shapes at 640x640 with random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter, OpResolverType
from networks import SHAPES, network_model

from rocketnpu.zoo import resolve

HERE = Path(__file__).resolve().parents[1]
COMPILE = """
import sys, time
from rocketnpu.compiler import compile_graph
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
policy = Policy("mainline", allow_unproven=sys.argv[2] == "all rules")
times = []
for _ in range(4):
    start = time.process_time()
    tasks = 0
    for part in plan(tflite.load(sys.argv[1]), policy).parts:
        tasks += len(compile_graph(part, policy).tasks)
    times.append((time.process_time() - start) * 1e3)
print(min(times[1:]), tasks)
"""
"""The first time fills caches of the process; works with older packages too."""


def compiled(checkout: Path, model: Path, rules: str) -> float:
    """Return the milliseconds of one process."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", COMPILE, str(model), rules]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr.strip()[-500:]}")
    return float(done.stdout.split()[0])


def litert(model: Path) -> Any:
    """Return an interpreter of one thread, without delegates."""
    made = Interpreter(
        str(model), num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    made.allocate_tensors()
    made.invoke()
    return made


def measure(model: Path, checkouts: dict[str, Path], runs: int) -> dict[str, float]:
    """Return the medians by name."""
    interpreter = litert(model)
    times: dict[str, list[float]] = {}
    for _ in range(runs):
        for name, checkout in checkouts.items():
            for rules in ("all rules", "proven rules"):
                times.setdefault(f"{name}, {rules}", []).append(compiled(checkout, model, rules))
        start = time.process_time()
        interpreter.invoke()
        times.setdefault("LiteRT, one inference", []).append((time.process_time() - start) * 1e3)
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="compile time of networks, beside LiteRT's own time")
    parser.add_argument("-m", "--model", action="append")
    parser.add_argument("--before", type=Path, help="another checkout of this repository")
    parser.add_argument("-n", "--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    checkouts = {"before": arguments.before} if arguments.before else {}
    checkouts["now"] = HERE
    with tempfile.TemporaryDirectory() as folder:
        shapes = Path(folder, "YOLOv8n 640 shapes.tflite")
        shapes.write_bytes(network_model(SHAPES["YOLOv8n 640"]))
        models = [resolve(name) for name in arguments.model] if arguments.model else [resolve("mobilenet_v1"), shapes]
        found = {model.stem: measure(model, checkouts, arguments.runs) for model in models}
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for name, row in found.items():
        print(f"{name}, CPU milliseconds")
        for what, value in row.items():
            print(f"  {what:28} {value:10.1f}")


if __name__ == "__main__":
    main()
