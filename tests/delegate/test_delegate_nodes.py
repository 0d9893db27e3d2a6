"""The delegate's shared library on each kernel driver's emulated node, from Python and from hosts without Python."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ai_edge_litert
import numpy as np
import pytest
from delegate_bench import chain, noise, python, run, same

from device_fixtures import Node
from kernel_kinds import KINDS, Kind
from rocketnpu.delegate import Delegate
from rocketnpu.emulator import shim_library
from rocketnpu.model import tflite

MODEL = chain("npu", "npu", "npu")
CODE = """
import sys
import numpy as np
from pathlib import Path
from ai_edge_litert.interpreter import load_delegate
from delegate_bench import run
library, device, model, folder, full = sys.argv[1:]
options = {"device": device, "minimum_macs": "0", "cache": "off", "require_full": full, "verbose": "yes"}
for seed in (1, 2):
    found = run(Path(model), [load_delegate(library, options)], seed)
    np.savez(f"{folder}/{seed}.npz", *found)
"""
SMALL = ("mobilenet_v1_0.25_128_quant.tflite", "resnet8_cifar10_int8.tflite")
"""Published models that take a second."""
LARGE = (
    "mobilenet_v1_1.0_224_quant.tflite",
    "mobilenet_v2_1.0_224_quant.tflite",
    "tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "efficientnet_lite0_litert_quantizer_int8.tflite",
)


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def meeting(kind: Kind, start_node: Callable[..., Node]) -> tuple[Node, dict[str, str]]:
    """The kind's node, and the environment of a program that meets it."""
    started = start_node(kind.chip, job_timeout=2.0)
    return started, {**started.node.environment(shim_library()), "ROCKETNPU_DEVICE": ""}


def wanted(kind: Kind, model: bytes | Path = MODEL, seed: int = 1) -> list[np.ndarray]:
    """What the delegate of this process makes of a model, on the simulator with a board's programs."""
    options = {"device": "simulator", "chip": kind.chip, "target": "mainline"}
    return run(model, [Delegate(minimum_macs=0, cache="off", **options)], seed)


def check_python(
    kind: Kind, meeting: tuple[Node, dict[str, str]], library: Path, model: Path, folder: Path, device: str, full: str
) -> None:
    """Run a model in a program of its own that meets the node, and hold it against the delegate of this process."""
    started, environment = meeting
    done = python(CODE, library, device, model, folder, full, **environment)
    assert done.returncode == 0, done.stderr
    assert f"rocketnpu: loaded {kind.name} driver" in done.stderr
    assert "rocketnpu: invoked graph, took " in done.stderr
    for seed in (1, 2):
        with np.load(folder / f"{seed}.npz") as found:
            assert same(list(found.values()), wanted(kind, model, seed)), seed
    assert started.lines == []
    assert started.node.live_buffers == 0


@pytest.mark.parametrize("named", [True, False], ids=["named", "auto"])
def test_a_python_program_gets_the_bytes_of_the_delegate_in_process(
    kind: Kind, meeting: tuple[Node, dict[str, str]], library: Path, tmp_path: Path, named: bool
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(MODEL)
    check_python(kind, meeting, library, model, tmp_path, kind.name if named else "auto", "yes")


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_published_models_give_the_bytes_of_the_delegate_in_process(
    kind: Kind, meeting: tuple[Node, dict[str, str]], library: Path, shared: Path, tmp_path: Path, name: str
) -> None:
    if name in LARGE and os.environ.get("ROCKETNPU_TEST_HEAVY") != "1":
        pytest.skip("simulates large networks twice; set ROCKETNPU_TEST_HEAVY=1 to run it")
    check_python(kind, meeting, library, shared / "models" / name, tmp_path, "auto", "no")


def test_a_cpp_runtime_without_python_gets_the_same_bytes(
    kind: Kind,
    meeting: tuple[Node, dict[str, str]],
    library: Path,
    host: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    runtime = Path(str(ai_edge_litert.__path__[0]), "libLiteRt.so")
    if not runtime.exists():
        pytest.skip("this LiteRT has no libLiteRt.so")
    started, environment = meeting
    model = tmp_path / "model.tflite"
    model.write_bytes(MODEL)
    graph = tflite.load(model)
    source, result = (graph.tensors[numbers[0]] for numbers in (graph.inputs, graph.outputs))
    uint8 = "3"
    types = [word for one in (source, result) for word in (uint8, str(len(one.shape)), *map(str, one.shape))]
    options = ["device", kind.name, "minimum_macs", "0", "cache", "off", "require_full", "yes", "verbose", "yes"]
    done = subprocess.run(
        [host("runtime"), runtime, library, model, *types, *options],
        input=noise(source.shape, np.uint8).tobytes(),
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert f"rocketnpu: loaded {kind.name} driver".encode() in done.stderr
    assert b"rocketnpu: invoked graph, took " in done.stderr
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.uint8), wanted(kind)[0].ravel())
    assert started.lines == []


def test_a_c_host_that_makes_and_destroys_delegates_keeps_nothing(
    kind: Kind, meeting: tuple[Node, dict[str, str]], library: Path, host: Callable[[str], Path]
) -> None:
    started, environment = meeting
    done = subprocess.run(
        [host("walk"), library, "50", "device", kind.name],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    grown = re.fullmatch(r"made 50, grew (-?\d+) KiB and (-?\d+) descriptors\n", done.stdout)
    assert grown, done
    assert int(grown[1]) < 2048
    assert int(grown[2]) == 0
    assert started.lines == []


def test_a_node_without_memory_leaves_the_network_on_the_cpu(
    kind: Kind, start_node: Callable[..., Node], library: Path, tmp_path: Path
) -> None:
    started = start_node(kind.chip, memory=16 << 10)
    environment = {**started.node.environment(shim_library()), "ROCKETNPU_DEVICE": ""}
    (tmp_path / "model.tflite").write_bytes(MODEL)
    done = python(CODE, library, kind.name, tmp_path / "model.tflite", tmp_path, "no", **environment)
    assert done.returncode == 0, done.stderr
    assert "the kernel has no memory left" in done.stderr
    with np.load(tmp_path / "1.npz") as found:
        assert same(list(found.values()), run(MODEL, []))
    assert started.node.live_buffers == 0


GONE = """
import sys
from pathlib import Path
from ai_edge_litert.interpreter import Interpreter, load_delegate
from delegate_bench import outputs, set_noise
options = {"device": sys.argv[2], "minimum_macs": "0", "cache": "off"}
made = Interpreter(model_path=sys.argv[3], experimental_delegates=[load_delegate(sys.argv[1], options)])
made.allocate_tensors()
set_noise(made)
made.invoke()
print(outputs(made)[0].sum(), flush=True)
input()
try:
    made.invoke()
except RuntimeError:
    print("refused", flush=True)
"""


def test_a_node_that_goes_away_fails_the_inference_and_not_the_program(
    kind: Kind, meeting: tuple[Node, dict[str, str]], library: Path, tmp_path: Path
) -> None:
    started, environment = meeting
    model = tmp_path / "model.tflite"
    model.write_bytes(MODEL)
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    with subprocess.Popen(
        [sys.executable, "-c", GONE, library, kind.name, model],
        env={**environment, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        first = program.stdout.readline()
        started.node.stop()
        output, errors = program.communicate("\n", timeout=120)
    assert first == f"{wanted(kind)[0].sum()}\n", errors
    assert output == "refused\n", errors
    assert "the device is gone" in errors
    assert program.returncode == 0
