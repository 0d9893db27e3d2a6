"""What the TensorFlow Lite door itself costs, and whether anything accumulates in it.

    python benchmarks/door.py [MODEL.tflite ...]

Per model, with the simulator as device, medians of one inference:

* invoke: the host's whole inference
* device: the time inside the device, from the first job handed over to the last result
* door: our callbacks less the device: reading pointers, copies into and out of the NPU's layout, locks, checks
* host: the rest, which is LiteRT and the operators that it kept

The door of a part with next to no data is what every part pays; how much LiteRT computes in that time says from where a
part can pay at all, and ``rocketnpu.delegate.options.MINIMUM_MACS`` has to be of that order. Then come memory and file
descriptors over 1,000 inferences and 100 delegates.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from rocketnpu.delegate import Delegate
from rocketnpu.delegate.kernel import Kernel
from rocketnpu.device.base import Buffer, DeviceJob
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import DType, Padding
from rocketnpu.graph.operators import Conv2D
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.zoo import resolve

RUNS = 15
INVOCATIONS = 1000
CYCLES = 100
STEPS = 4
PAGE_KIB = os.sysconf("SC_PAGESIZE") // 1024


class TimedDevice(SimulatorDevice):
    """Counts the seconds spent inside."""

    seconds = 0.0

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        start = time.perf_counter()
        super().submit(jobs)
        self.seconds += time.perf_counter() - start

    def sync_for_cpu(self, buffer: Buffer, timeout: float) -> None:
        start = time.perf_counter()
        super().sync_for_cpu(buffer, timeout)
        self.seconds += time.perf_counter() - start


class Clock:
    """Counts the calls of :meth:`Kernel.invoke` and the seconds spent in them."""

    def __init__(self) -> None:
        self.seconds, self.calls = 0.0, 0
        self._invoke = Kernel.invoke
        Kernel.invoke = self._timed  # type: ignore[method-assign]

    @property
    def _timed(self) -> Any:
        def invoke(kernel: Kernel, context: Any) -> None:
            start = time.perf_counter()
            self._invoke(kernel, context)
            self.seconds += time.perf_counter() - start
            self.calls += 1

        return invoke


def prepared(path: Path, delegates: list[Any]) -> Interpreter:
    interpreter = Interpreter(model_path=str(path), experimental_delegates=delegates, num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        limits = np.iinfo(detail["dtype"])
        random = np.random.default_rng(1)
        shape = tuple(detail["shape"])
        interpreter.set_tensor(detail["index"], random.integers(limits.min, limits.max, shape, detail["dtype"]))
    interpreter.invoke()
    return interpreter


def door_times(device: TimedDevice, interpreter: Interpreter, clock: Clock) -> tuple[float, ...]:
    """Return medians in milliseconds of invoke, device, door, host, and the number of parts."""
    rows = []
    for _ in range(RUNS):
        device.seconds, clock.seconds, clock.calls = 0.0, 0.0, 0
        start = time.perf_counter()
        interpreter.invoke()
        invoke = time.perf_counter() - start
        rows.append((invoke, device.seconds, clock.seconds - device.seconds, invoke - clock.seconds))
    return (*(statistics.median(column) * 1e3 for column in zip(*rows, strict=True)), clock.calls)


def litert_time(path: Path) -> float:
    """Return the median in milliseconds of the model on LiteRT alone, one thread."""
    interpreter = prepared(path, [])
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        interpreter.invoke()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def measure(path: Path, clock: Clock) -> float:
    """Print a row and return how many multiply-accumulates LiteRT does in a millisecond."""
    device = TimedDevice()
    with Delegate.on(device, minimum_macs=0) as delegate:
        interpreter = prepared(path, [delegate])
        invoke, inside, door, host, parts = door_times(device, interpreter, clock)
        del interpreter
    alone = litert_time(path)
    print(f"{path.stem:34} {parts:5.0f} {invoke:9.2f} {inside:9.2f} {door:7.3f} {host:7.2f} {alone:9.2f}", flush=True)
    return sum(found.macs for found in plan(tflite.load(path)).decisions) / alone


def empty_part(folder: Path) -> Path:
    """Write a model of one convolution on one pixel."""
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 1, 1, 16), DType.UINT8, scale=0.05, zero_point=120) for _ in range(2))
    ones = np.ones((16, 1, 1, 16))
    weights = builder.tensor(ones.shape, DType.UINT8, scale=0.01, zero_point=128, data=ones)
    bias = builder.tensor((16,), DType.INT32, scale=0.0005, data=np.zeros(16))
    builder.operator("CONV_2D", [x, weights, bias], [y], Conv2D((1, 1), Padding.SAME))
    path = folder / "one pixel.tflite"
    path.write_bytes(builder.build([x], [y]))
    return path


def resident() -> int:
    """Resident memory in KiB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_KIB


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def flatness(path: Path) -> None:
    def row(what: str) -> None:
        print(f"  {what:24} {resident():8} KiB {descriptors():4} descriptors")

    print(f"\nmemory and file descriptors, {path.stem}")
    interpreter = prepared(path, [Delegate()])
    row("after 1 invocation")
    for step in range(STEPS):
        for _ in range(INVOCATIONS // STEPS):
            interpreter.invoke()
        row(f"after {(step + 1) * INVOCATIONS // STEPS} invocations")
    del interpreter
    prepared(path, [Delegate()])
    row("after 1 more delegate")
    for step in range(STEPS):
        for _ in range(CYCLES // STEPS):
            prepared(path, [Delegate()])
        row(f"after {(step + 1) * CYCLES // STEPS} delegates")


def main() -> None:
    parser = argparse.ArgumentParser(description="What the TensorFlow Lite door costs.")
    beside = Path(__file__).resolve().parents[2] / "shared" / "models"
    parser.add_argument("models", nargs="*", type=Path, default=sorted(beside.glob("*.tflite")))
    models = parser.parse_args().models or [resolve("mobilenet_v1")]
    clock = Clock()
    print("milliseconds, medians")
    print(f"{'model':34} parts    invoke    device    door    host    LiteRT")
    speeds = [measure(path, clock) for path in models]
    with tempfile.TemporaryDirectory() as folder:
        device = TimedDevice()
        interpreter = prepared(empty_part(Path(folder)), [Delegate.on(device, minimum_macs=0)])
        door = door_times(device, interpreter, clock)[2]
    low, high = min(speeds) * door, max(speeds) * door
    print(f"\nthe door of an empty part takes {door:.3f} ms, in which LiteRT does {low:,.0f} to {high:,.0f} MACs")
    flatness(min(models, key=lambda path: path.stat().st_size))


if __name__ == "__main__":
    main()
