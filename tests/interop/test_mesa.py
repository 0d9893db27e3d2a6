"""Stock Mesa drives the emulated node: Debian's arm64 delegate under qemu, our kernel behaviour, our simulator.

Heavy: it fetches packages and runs an emulated userland, so it runs with ROCKETNPU_TEST_HEAVY=1 only. A machine that
cannot reach the packages skips it and says why. ROCKETNPU_INTEROP_ROOT names the folder for the userland (200 MB),
by default one in the user's cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rocketnpu.emulator import EmulatedNode, QueuedJob
from rocketnpu.errors import BoardUnavailableError
from rocketnpu.model.tflite import parse
from rocketnpu.rockchip.drivers.rocket_file import NodeFile
from rocketnpu.rockchip.registers.command import decode

HERE = Path(__file__).parent
HENS = HERE.parents[1] / "examples" / "hens.jpg"
sys.path.insert(0, str(HERE.parent / "rockchip" / "simulator"))

import interop_userland  # noqa: E402
from sim_recordings import Model, expected, unpack  # noqa: E402

HEAVY = "ROCKETNPU_TEST_HEAVY"
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
MODELS = {"mobilenet_v1_1.0_224_quant": "hen", "mobilenet_v1_0.25_128_quant": "Australian terrier"}
"""What LiteRT's reference kernels see in the picture of hens; the small network is wrong without any NPU."""
OPERATIONS = 28

pytestmark = pytest.mark.skipif(not os.environ.get(HEAVY), reason=f"heavy: set {HEAVY}=1")


@dataclass
class Done:
    """A finished job: its first list's registers, the buffer it wrote, and both feature maps afterwards."""

    registers: dict[str, dict[str, int]]
    target: int
    read: np.ndarray
    written: np.ndarray


class Recorder:
    """Watches the emulated node."""

    def __init__(self) -> None:
        self.jobs: list[Done] = []
        self.failures: list[str] = []

    def observe(self, file: NodeFile, job: QueuedJob) -> None:
        if job.error:
            self.failures.append(job.error)
            return
        address, count = job.tasks[0]
        words = file.memory.view(address, (count,), unit="PC", register="", dtype="<u8")
        decoded = [decode(int(word)) for word in words]
        registers = {f"{item.register.block}.{item.register.name}": item.fields for item in decoded if item.register}
        read, written = job.reads[0], job.writes[0]
        self.jobs.append(Done(registers, written.address, read.array.copy(), written.array.copy()))

    def operations(self) -> list[Done]:
        """The last job of each operation: an operation's jobs follow each other and write one buffer."""
        ends = [*(a.target != b.target for a, b in zip(self.jobs, self.jobs[1:], strict=False)), True]
        last = [number for number, end in enumerate(ends) if end]
        first = [0, *(number + 1 for number in last[:-1])]
        return [Done(self.jobs[a].registers, *_rest(self.jobs[b])) for a, b in zip(first, last, strict=True)]


def _rest(done: Done) -> tuple[int, np.ndarray, np.ndarray]:
    return done.target, done.read, done.written


@dataclass
class Userland:
    """The arm64 root and the qemu that runs it."""

    root: Path
    qemu: str

    def command(self, *arguments: str) -> list[str]:
        python = self.root / "usr/bin/python3.13"
        preload = ["-E", f"LD_PRELOAD={self.root}/librocketshim.so"]
        # The fastest modern core: "max" is five times slower because of pointer authentication.
        return [self.qemu, "-cpu", "cortex-a76", "-L", str(self.root), *preload, str(python), *arguments]

    def environment(self, node: EmulatedNode) -> dict[str, str]:
        return dict(os.environ) | node.variables() | {"PYTHONPATH": str(self.root / "opt/py")}


@pytest.fixture(scope="session")
def userland() -> Userland:
    try:
        folder = interop_userland.userland()
    except BoardUnavailableError as error:
        pytest.skip(str(error))
    return Userland(folder / "root", str(folder / "qemu-aarch64"))


@pytest.fixture(scope="session", params=MODELS)
def network(request: pytest.FixtureRequest) -> Path:
    """The model, which a test asks for before the userland: without it the userland need not be set up."""
    if request.param == "mobilenet_v1_1.0_224_quant":
        return request.getfixturevalue("mobilenet_v1")
    return request.getfixturevalue("shared") / "models" / f"{request.param}.tflite"


def picture(size: int) -> np.ndarray:
    with Image.open(HENS) as image:
        return np.asarray(image.convert("RGB").resize((size, size)), np.uint8)[None]


def test_mesa_classifies_and_every_convolution_equals_the_integer_model(
    network: Path, mobilenet_labels: Path, userland: Userland, tmp_path: Path
) -> None:
    graph = parse(network.read_bytes())
    image = picture(graph.tensors[graph.inputs[0]].shape[1])
    scores, recorder = infer(userland, network, image, tmp_path)
    labels = mobilenet_labels.read_text().splitlines()
    assert labels[int(scores.argmax())] == MODELS[network.stem]
    operators = [operator for operator in graph.operators if operator.kind in CONVOLUTIONS]
    assert len(recorder.operations()) == len(operators) == OPERATIONS
    compare(Model(network), operators, recorder.operations(), graph, image)


def infer(userland: Userland, path: Path, image: np.ndarray, folder: Path) -> tuple[np.ndarray, Recorder]:
    """Run one inference in the userland; return the scores and what the node saw."""
    recorder = Recorder()
    image.tofile(folder / "input.bin")
    delegate = userland.root / "usr/lib/teflon/libteflon.so"
    arguments = (HERE / "guest_run.py", delegate, path, folder / "input.bin", folder / "output.bin")
    with EmulatedNode(report=recorder.failures.append, observe=recorder.observe) as node:
        done = subprocess.run(
            userland.command(*map(str, arguments)),
            env=userland.environment(node),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    assert recorder.failures == []
    return np.fromfile(folder / "output.bin", np.uint8), recorder


def compare(model: Model, operators: list, operations: list[Done], graph, image: np.ndarray) -> None:
    """Hold each operation against the integer model, which is fed with its own results from the picture on."""
    known = {graph.inputs[0]: image}
    for number, (operator, done) in enumerate(zip(operators, operations, strict=True)):
        source, target = operator.inputs[0], operator.outputs[0]
        if source not in known:  # the pooling in between is LiteRT's
            known[source] = unpack(done.read, graph.tensors[source].shape)[None]
        shape = graph.tensors[target].shape
        operation = SimpleNamespace(inputs=operator.inputs)
        wanted = expected(model, operation, done.registers, known, shape[1]).astype(np.int8).view(np.uint8) ^ 0x80
        got = unpack(done.written, shape)
        assert np.array_equal(got, wanted), f"operation {number}: {np.argwhere(got != wanted)[0]} differs first"
        known[target] = wanted[None]
