"""The recipes of ``docs/recipes.md``, run as they stand in a folder with what each begins with."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from float_nets import FloatNet
from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.files import read
from rocketnpu.partition.plan import plan
from rocketnpu.pictures import load_picture, normalise_pixels
from rocketnpu.provider.build import build_provider

ROOT = Path(__file__).resolve().parents[1]
CODE = dict(re.findall(r"<!-- recipe: (\w+) -->\n```python\n(.*?)```", (ROOT / "docs/recipes.md").read_text(), re.S))
HENS = ROOT / "examples" / "hens.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and a float network in ONNX."""
    made = tmp_path_factory.mktemp("recipes")
    pictures = made / "pictures"
    pictures.mkdir()
    shutil.copy(HENS, pictures)
    whole = Image.open(HENS).convert("RGB")
    whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(pictures / "mirrored.png")
    whole.crop((0, 0, whole.width // 2, whole.height)).save(pictures / "half.png")
    onnx.save(classifier(pictures), made / "float.onnx")
    return made


def given(pictures: Path) -> np.ndarray:
    found = [normalise_pixels(load_picture(path, 64, 64)) for path in sorted(pictures.iterdir())]
    return np.ascontiguousarray(np.concatenate(found).transpose(0, 3, 1, 2))


def classifier(pictures: Path) -> onnx.ModelProto:
    net = FloatNet(given(pictures))
    x = net.conv(net.conv("x", 16, 3, 2, act="ReLU6"), 16, 3, 1, 16, act="ReLU6")
    (x,) = net.node("Add", [net.conv(x, 16), x])
    return net.model(net.classifier(x, 10))


def run(folder: Path, name: str) -> str:
    """Run a recipe in a process of its own."""
    done = subprocess.run([sys.executable, "-c", CODE[name]], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_recipe_is_run() -> None:
    assert set(CODE) == {"onnxruntime", "run", "provider", "yolo", "torch", "litert"}


def test_quantise_with_onnxruntime_and_run(folder: Path) -> None:
    run(folder, "onnxruntime")
    divided = plan(read(folder / "quantised.onnx"))
    assert divided.coverage == 1.0
    assert len(divided.parts) == 1
    device, number = run(folder, "run").split()
    assert device
    assert 0 <= int(number) < 10
    build_provider(folder / "librocketnpu_provider.so")
    assert "RocketNpuExecutionProvider" in run(folder, "provider")


def test_cut_a_detector_at_its_head(folder: Path, tmp_path: Path) -> None:
    net = FloatNet(given(folder / "pictures"))
    x = net.conv("x", 16, 3, 2, act="SiLU")
    ends = []
    for place in range(2):
        x = net.conv(x, 16, 3, 2, act="SiLU")
        ends.append(net.conv(x, 24))
        net.nodes[-1].name = f"/head.{place}/Conv"
    boxes = [net.node("Sigmoid", [end])[0] for end in ends]
    onnx.save(net.model(*boxes), tmp_path / "detector.onnx")
    run(tmp_path, "yolo")
    cut = onnx.load(tmp_path / "float.onnx")
    assert [value.name for value in cut.graph.output] == ends
    assert sum(node.op_type == "Sigmoid" for node in cut.graph.node) == 3
    shutil.copytree(folder / "pictures", tmp_path / "pictures")
    run(tmp_path, "onnxruntime")
    assert plan(read(tmp_path / "quantised.onnx")).coverage == 1.0


@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed (pip install torch)")
def test_export_from_pytorch(folder: Path, tmp_path: Path) -> None:
    run(tmp_path, "torch")
    shutil.copytree(folder / "pictures", tmp_path / "pictures")
    run(tmp_path, "onnxruntime")
    assert plan(read(tmp_path / "quantised.onnx")).coverage == 1.0


def signed(data: bytes, source: str, target: str) -> bytes:
    """Add the signature that converters give a model."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    ends = []
    for name, number in ((source, model.subgraphs[0].inputs[0]), (target, model.subgraphs[0].outputs[0])):
        end = schema.TensorMapT()
        end.name, end.tensorIndex = name, int(number)
        ends.append([end])
    signature.inputs, signature.outputs = ends
    model.signatureDefs = [signature]
    writer = flatbuffers.Builder(1024)
    writer.Finish(model.Pack(writer), b"TFL3")
    return bytes(writer.Output())


@pytest.mark.skipif(find_spec("litert_quantizer") is None, reason="litert-quantizer is not installed")
def test_quantise_with_litert_quantizer(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "pictures", tmp_path / "pictures")
    random, builder = np.random.default_rng(0), ModelBuilder()
    x = builder.tensor((1, 64, 64, 3), DType.FLOAT32, name="x")
    weights = builder.tensor((16, 3, 3, 3), DType.FLOAT32, data=random.normal(0, 0.3, (16, 3, 3, 3)).astype(np.float32))
    bias = builder.tensor((16,), DType.FLOAT32, data=random.normal(0, 0.1, 16).astype(np.float32))
    y = builder.tensor((1, 32, 32, 16), DType.FLOAT32, name="y")
    builder.operator("CONV_2D", [x, weights, bias], [y], ops.Conv2D((2, 2), Padding.SAME))
    (tmp_path / "float.tflite").write_bytes(signed(builder.build([x], [y]), "x", "y"))
    run(tmp_path, "litert")
    divided = plan(read(tmp_path / "quantised.tflite"))
    assert divided.coverage == 1.0
