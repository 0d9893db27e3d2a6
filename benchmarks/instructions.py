"""Instructions of one inference on the host, the device's work taken out: what carries over to a board's processor.

    python benchmarks/instructions.py [-m MODEL] [--before CHECKOUT] [--proven] [--json]

valgrind's callgrind counts a process that runs few inferences and one that runs more; the difference is theirs. The
kernel is stood in for as in ``device_path.py``: real system calls that do nothing. Counted are

* host: ``PlacedProgram.run``, an inference on the device path
* door and host: ``Interpreter.invoke`` of LiteRT with the delegate, the operators that LiteRT keeps among them

``--before`` measures another checkout beside this one. Each count takes a minute or two, most of it Python's start.
Exit status 1 where there is no valgrind (Debian: ``apt-get install valgrind``).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
FEW, MORE = 2, 22
COUNTED = re.compile(rb"(?:Collected|refs:)\s*:?\s*([\d,]+)")
WAYS = {"host": "host", "door and host": "door"}


def counted(checkout: Path, way: str, model: Path, runs: int, proven: bool) -> int:
    """Return the instructions of a whole process that runs so many inferences."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={folder}/out",
            *(sys.executable, "-P"),  # a checkout of its own benchmarks, not this folder
            str(Path(__file__).resolve()),
            *("--child", way, "--model", str(model), "--runs", str(runs), *(["--proven"] if proven else [])),
        ]
        folders = [str(checkout / "src"), str(checkout / "benchmarks")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders), "PYTHONHASHSEED": "0"}
        environment |= {"OPENBLAS_NUM_THREADS": "1", "ROCKETNPU_CACHE": folder}
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
    found = COUNTED.findall(done.stderr)
    if done.returncode or not found:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return int(found[-1].replace(b",", b""))


def instructions(checkout: Path, model: Path, proven: bool) -> dict[str, float]:
    """Return millions of instructions of an inference each way."""
    found = {}
    for name, way in WAYS.items():
        few, more = (counted(checkout, way, model, runs, proven) for runs in (FEW, MORE))
        found[name] = round((more - few) / (MORE - FEW) / 1e6, 3)
    return found


def child(way: str, model: Path, runs: int, proven: bool) -> None:
    """Run inferences; this process is the one that is counted. Works with this package and with older ones."""
    from device_path import IdleKernel, RocketDevice

    from rocketnpu.device import executor

    idle, spots = IdleKernel(), []
    placed_init = executor.PlacedProgram.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        placed_init(self, *arguments, **options)
        spots.extend((self.memories[job.sentinel[0]], job.sentinel[1]) for job in self.program.jobs)

    def touch() -> None:
        for memory, offset in spots:
            memory[offset] ^= 0xFF

    executor.PlacedProgram.__init__ = init  # type: ignore[method-assign]
    idle.on_submit = touch
    run = (_door if way == "door" else _host)(RocketDevice(calls=idle), model, proven)
    for _ in range(runs):
        run()


def _door(device: Any, model: Path, proven: bool) -> Any:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    from rocketnpu.delegate import Delegate

    delegate = Delegate.on(device, allow_unproven=not proven, cache="off")
    interpreter = Interpreter(str(model), experimental_delegates=[delegate], num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.ones(detail["shape"], detail["dtype"]))
    return interpreter.invoke


def _host(device: Any, model: Path, proven: bool) -> Any:
    import numpy as np

    from rocketnpu.compiler import compile_graph
    from rocketnpu.device.executor import PlacedProgram
    from rocketnpu.model import tflite
    from rocketnpu.partition.plan import plan
    from rocketnpu.policy import Policy

    policy = Policy("mainline", allow_unproven=not proven)
    programs = [compile_graph(part, policy) for part in plan(tflite.load(model), policy).parts]
    placed = [PlacedProgram(device, program, allow_unproven=True) for program in programs]
    inputs = [[np.ones(one.shape, one.dtype.value) for one in program.inputs] for program in programs]

    def run() -> None:
        for program, values in zip(placed, inputs, strict=True):
            program.run(values)

    return run


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="instructions of an inference on the host, by valgrind")
    parser.add_argument("-m", "--model", default="mobilenet_v1")
    parser.add_argument("--before", type=Path, help="another checkout of this repository, measured too")
    parser.add_argument("--proven", action="store_true", help="by proven rules only")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=WAYS.values(), help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, Path(arguments.model), arguments.runs, arguments.proven)
        return 0
    if shutil.which("valgrind") is None:
        print("instructions: there is no valgrind (Debian: apt-get install valgrind)", file=sys.stderr)
        return 1
    from rocketnpu.zoo import resolve

    model = resolve(arguments.model)
    checkouts = {"before": arguments.before} if arguments.before else {}
    checkouts["now"] = HERE
    found = {name: instructions(checkout, model, arguments.proven) for name, checkout in checkouts.items()}
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    rules = "proven rules" if arguments.proven else "all rules"
    print(f"{model.stem}, {rules}: millions of instructions an inference, the device's work taken out")
    for way in WAYS:
        print(f"  {way:16}" + "".join(f"{name:>10} {row[way]:8.3f}" for name, row in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
