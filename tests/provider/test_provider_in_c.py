"""The execution provider in a program of C on Debian sid's ONNX Runtime 1.23, which is not Python's."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx_nets import Net
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.model.onnx.reader import convert
from rocketnpu.onnx_host.inference import OnnxInference

HERE = Path(__file__).parent
ROOT = Path(os.environ.get("ROCKETNPU_ONNXRUNTIME_ROOT", Path.home() / ".cache/rocketnpu/onnxruntime"))
UNREACHABLE = 69

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("ROCKETNPU_TEST_HEAVY") != "1",
        reason="unpacks Debian's ONNX Runtime; set ROCKETNPU_TEST_HEAVY=1 to run it",
    ),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the packages are for x86-64"),
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs the program."""
    done = subprocess.run([HERE / "debian.sh", ROOT], capture_output=True, text=True, check=False)
    if done.returncode == UNREACHABLE:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    program, folder = tmp_path_factory.mktemp("host") / "host", ROOT / "usr/lib/x86_64-linux-gnu"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/usr/include/onnxruntime", str(HERE / "host.c")]
    command += ["-o", str(program), str(folder / "libonnxruntime.so.1.23"), "-Wl,--allow-shlib-undefined"]
    subprocess.run(command, check=True)
    return [str(ROOT / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(folder), str(program)]


def test_a_program_in_c_gives_what_python_gives(host: list[str], library: Path, tmp_path: Path) -> None:
    net = Net(25)
    x = net.conv(net.input((1, 3, 16, 16)), 16, (3, 3), strides=[2, 2], clamp="Relu")
    y = net.silu(net.conv(x, 16, (1, 1)))
    model = net.model(net.gemm(net.moved("Flatten", net.global_average(y), (1, 16), axis=1), 10))
    onnx.save(model, tmp_path / "net.onnx")
    options = ["device=simulator", "minimum_macs=0", "cache=off", "verbose=yes"]
    (given,) = net.feed(0)
    command = [*host, str(library), str(tmp_path / "net.onnx"), *options]
    done = subprocess.run(command, input=given.tobytes(), capture_output=True, check=False)
    said = done.stderr.decode()
    assert done.returncode == 0, said[-2000:]
    assert said.count("rocketnpu: invoked graph, took") == 3
    assert "Schema error" not in said  # of a libonnx that the host shares with nobody's wheel
    with OnnxInference(convert(model), SimulatorDevice(), cache="off") as inference:
        (wanted,) = inference.run([given])
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.float32), wanted.reshape(-1))


def test_a_program_in_c_is_told_of_a_wrong_option(host: list[str], library: Path, tmp_path: Path) -> None:
    net = Net(26)
    onnx.save(net.model(net.conv(net.input((1, 3, 8, 8)), 16, (3, 3))), tmp_path / "net.onnx")
    command = [*host, str(library), str(tmp_path / "net.onnx"), "device=moon"]
    done = subprocess.run(command, input=b"", capture_output=True, check=False)
    assert done.returncode == 1
    assert b"'moon' is unknown" in done.stderr
