"""What the ONNX Runtime door costs a run, beside the TensorFlow Lite door, and whether anything accumulates in it.

    python benchmarks/provider_door.py

One convolution of next to no data stands in both, on a device that does nothing. Medians over 500 runs:

* run: the host's whole inference, with the part on the device
* plain: the host's whole inference of the same model without us
* door: the difference, in each of the two hosts, and their ratio

Then come memory and file descriptors over 1,000 runs.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from rocketnpu.delegate import Delegate
from rocketnpu.device.base import Buffer, DeviceJob
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import DType, Padding
from rocketnpu.graph.operators import Conv2D
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.provider import NAME, callbacks
from rocketnpu.provider.build import build_provider

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from onnx_nets import Net

RUNS = 500
STEPS = 4
PAGE_KIB = os.sysconf("SC_PAGESIZE") // 1024


class IdleDevice(SimulatorDevice):
    """Runs each program once and then does nothing, so that only the door is left."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = False

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        if not self.idle:
            super().submit(jobs)


def median(run: Callable[[], Any]) -> float:
    """Return the median milliseconds of one run."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def tflite_model() -> bytes:
    builder, random = ModelBuilder(), np.random.default_rng(0)
    x = builder.tensor((1, 4, 4, 16), DType.UINT8, scale=0.02, zero_point=128)
    w = builder.tensor(
        (16, 1, 1, 16), DType.UINT8, scale=0.01, zero_point=128, data=random.integers(0, 256, (16, 1, 1, 16))
    )
    b = builder.tensor((16,), DType.INT32, scale=0.0002, data=np.zeros(16, np.int32))
    y = builder.tensor((1, 4, 4, 16), DType.UINT8, scale=0.05, zero_point=128)
    builder.operator("CONV_2D", [x, w, b], [y], Conv2D((1, 1), Padding.VALID))
    return builder.build([x], [y])


def tflite(delegates: list[Any]) -> Callable[[], Any]:
    interpreter = Interpreter(
        model_content=tflite_model(),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_delegates=delegates,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.zeros((1, 4, 4, 16), np.uint8))
    return interpreter.invoke


def onnx_session(devices: list[Any]) -> Callable[[], Any]:
    net = Net(1, weights="uint8")
    model = net.model(net.conv(net.input((1, 16, 4, 4)), 16, (1, 1), per_channel=False))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    if devices:
        options.add_provider_for_devices(devices, {"device": "simulator", "minimum_macs": "0", "cache": "off"})
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    given = {net.inputs[0].name: np.zeros((1, 16, 4, 4), np.float32)}
    return lambda: session.run(None, given)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        library = build_provider(Path(scratch) / "librocketnpu_provider.so")
        onnxruntime.register_execution_provider_library(NAME, str(library))
        devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == NAME]
        measure(devices)


def measure(devices: list[Any]) -> None:
    device = IdleDevice()
    idle = Delegate.on(device, minimum_macs=0, cache="off")
    hosts = {
        "TensorFlow Lite": (tflite([idle]), tflite([])),
        "ONNX Runtime": (onnx_session(devices), onnx_session([])),
    }
    provided = next(entry[1] for entry in callbacks._sessions.values())
    doors = {}
    for name, (ours, plain) in hosts.items():
        ours()
        silence(device, provided)
        whole, alone = median(ours), median(plain)
        doors[name] = whole - alone
        print(f"{name}: run {whole:.3f} ms, plain {alone:.3f} ms, door {doors[name]:.3f} ms")
    print(f"door of ONNX Runtime over that of TensorFlow Lite: {doors['ONNX Runtime'] / doors['TensorFlow Lite']:.2f}")
    run = hosts["ONNX Runtime"][0]
    for step in range(STEPS + 1):
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        print(f"after {step * 1000 // STEPS} runs: {_resident()} KiB, {descriptors} descriptors")
        for _ in range(1000 // STEPS if step < STEPS else 0):
            run()


def silence(device: IdleDevice, session: Any) -> None:
    """Let neither device compute any more."""
    device.idle = True
    session._core.submit = lambda _jobs: None
    for one in (device, session._core):
        one.sync_for_cpu = _touched(one)  # type: ignore[method-assign]


def _touched(device: Any) -> Callable[[Buffer, float], None]:
    """Write over the pattern by which the runtime sees that a job ran."""

    def sync(buffer: Buffer, _timeout: float) -> None:
        memory = device.map(buffer)
        memory[:] = bytes(len(memory))

    return sync


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KIB


if __name__ == "__main__":
    main()
