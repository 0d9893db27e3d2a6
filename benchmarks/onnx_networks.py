"""Networks as ONNX: parts, coverage, and how far each node and the whole is from ONNX Runtime, on pictures.

    python benchmarks/onnx_networks.py PICTURES [MODEL.onnx | MODEL.tflite ...]

MobileNetV2, ResNet-18 and a detector like YOLOv8n are made with random weights and the statistics of batch
normalisation over the pictures of the folder PICTURES; the last layer of the classifiers is fitted by least squares, so
that each picture is of a class of its own. They are quantised by onnxruntime's static quantiser (QDQ, per channel), and
so are TFLite classifiers that are named, their trained weights dequantised first. Quantised ONNX models named are
measured as they are. Each node is given ONNX Runtime's own inputs, in both modes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from dequantised import dequantised
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.graph import Graph
from rocketnpu.model import tflite
from rocketnpu.model.onnx import OnnxModel, load
from rocketnpu.onnx_host.compare import NodeComparison, compare_onnx
from rocketnpu.onnx_host.inference import OnnxInference
from rocketnpu.onnx_host.runtime import run_session, session
from rocketnpu.partition.plan import plan
from rocketnpu.pictures import load_picture, normalise_pixels
from rocketnpu.policy import Policy
from rocketnpu.scores import picture_input

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from float_nets import NETWORKS


class Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Gives pictures one by one."""

    def __init__(self, pictures: np.ndarray) -> None:
        self._left = iter(pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        picture = next(self._left, None)
        return None if picture is None else {"x": picture[None]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("models", type=Path, nargs="*")
    chosen = parser.parse_args()
    files = sorted(path for path in chosen.pictures.iterdir() if path.suffix in (".bmp", ".jpg", ".png", ".webp"))
    print(f"{len(files)} pictures of {chosen.pictures}")
    with tempfile.TemporaryDirectory() as scratch:
        for path in made(files, Path(scratch)):
            measure(path, files)
        for path in chosen.models:
            measure(trained(path, files, Path(scratch)) if path.suffix == ".tflite" else path, files)


def made(files: list[Path], folder: Path) -> Iterator[Path]:
    """Make the networks, and yield them quantised."""
    for name, (make, size) in NETWORKS.items():
        pictures = channels_first(np.concatenate([normalise_pixels(load_picture(path, size, size)) for path in files]))
        yield quantised(make(pictures), pictures, folder / f"{name}.onnx")


def trained(path: Path, files: list[Path], folder: Path) -> Path:
    """Return the quantised twin of a TFLite classifier that takes pixels of -1 to 1."""
    graph = tflite.load(path)
    _, rows, columns, _ = graph.tensors[graph.inputs[0]].shape
    pixels = np.concatenate([load_picture(file, rows, columns) for file in files])
    pictures = channels_first(pixels.astype(np.float32) / 127.5 - 1)
    return quantised(dequantised(graph), pictures, folder / f"{path.stem}, real weights.onnx")


def channels_first(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))


def quantised(model: onnx.ModelProto, pictures: np.ndarray, path: Path) -> Path:
    """Quantise a network of real numbers into a file."""
    whole = path.with_suffix(".floats.onnx")
    onnx.save(model, whole)
    quantize_static(whole, path, Pictures(pictures), quant_format=QuantFormat.QDQ, per_channel=True)
    return path


def measure(path: Path, files: list[Path]) -> None:
    """Print what a model comes to."""
    start = time.perf_counter()
    model = load(path)
    print(f"\n{path.stem}: read in {time.perf_counter() - start:.2f} s")
    for title, policy in (("all rules", Policy()), ("proven rules", Policy(allow_unproven=False))):
        divided = plan(model.graph, policy)
        taken = sum(decision.supported for decision in divided.decisions)
        print(
            f"  {title}: {taken} of {len(divided.decisions)} operators in {len(divided.parts)} parts, "
            f"{divided.coverage:.2%} of {sum(d.macs for d in divided.decisions) / 1e6:.0f} M multiply-accumulates"
        )
    found = compare_onnx(model, [picture_input(files[0], model.graph)], Policy())
    for mode in ("unfused", "fused"):
        print(f"  nodes, ONNX Runtime {mode}: {summary(found.nodes, mode)}")
    for end in found.outputs:
        print(
            f"  output {end.name}: the NPU from ONNX Runtime unfused {end.unfused.maximum} ({end.unfused.share:.1%}), "
            f"fused {end.fused.maximum} ({end.fused.share:.1%}); ONNX Runtime from itself {end.itself.maximum} "
            f"({end.itself.share:.1%})"
        )
    if len(model.graph.outputs) == 1:
        answers = classes(model, files)
        same = sum(ours == theirs for ours, theirs, _ in answers)
        print(
            f"  top-1 as ONNX Runtime: {same} of {len(files)} pictures, {len({a[1] for a in answers})} classes of them"
        )
        gaps = ", ".join(
            f"{path.stem} {theirs} by {gap}" for path, (_, theirs, gap) in zip(files, answers, strict=True)
        )
        print(f"  its class, and how many steps the next one is behind: {gaps}")


def summary(nodes: tuple[NodeComparison, ...], mode: str) -> str:
    """Say how far nodes are off: how many by how much, and the largest share of values."""
    rows = [(node.row.kind, node.row.difference if mode == "unfused" else node.fused) for node in nodes]
    seen = [(kind, difference) for kind, difference in rows if difference is not None]
    counts = {steps: sum(difference.maximum == steps for _, difference in seen) for steps in range(4)}
    worst = max(seen, key=lambda row: row[1].share, default=None)
    text = ", ".join(f"{count} by {steps}" for steps, count in counts.items() if count)
    values = sum(difference.values for _, difference in seen)
    share = sum(difference.differing for _, difference in seen) / max(values, 1)
    return f"{text}; {share:.3%} of all values" + (f", most in {worst[0]}: {worst[1].share:.2%}" if worst else "")


def classes(model: OnnxModel, files: list[Path]) -> list[tuple[int, int, int]]:
    """Return of each picture the NPU's class, ONNX Runtime's, and how many steps its next best is behind."""
    host: Any = session(model.proto, fused=True)
    name, found = model.ports[model.graph.inputs[0]].value, []
    step = last_step(model.graph)
    with OnnxInference(model, SimulatorDevice(), cache="off") as inference:
        for path in files:
            picture = picture_input(path, model.graph)
            (wanted,) = run_session(host, None, {name: picture})
            second, first = np.sort(wanted.reshape(-1))[-2:]
            ours = int(inference.run([picture])[0].argmax())
            found.append((ours, int(wanted.argmax()), round(float(first - second) / step)))
    return found


def last_step(graph: Graph) -> float:
    """Return what a step of the last quantised tensor is worth in the output."""
    tensor = graph.tensors[graph.outputs[0]]
    while tensor.quantisation is None:
        tensor = graph.input_of(graph.producers[tensor.index], 0)
    return tensor.quantisation.scale


if __name__ == "__main__":
    main()
