"""Whole models on pictures: the NPU's first class is LiteRT's wherever LiteRT's is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rocketnpu.inference import Inference
from rocketnpu.inspect.reference import reference
from rocketnpu.labels import read_labels
from rocketnpu.pictures import picture_for

EXPECTED = {
    "hens.jpg": "hen",
    "cat.bmp": "Egyptian cat",
    "parrot.jpg": "macaw",
    "bird.bmp": "chickadee",
    "sunflower.bmp": "daisy",
    "dog.webp": "German shepherd",
    "grace_hopper.bmp": "military uniform",
}
RIGHT = {
    "mobilenet_v1_1.0_224_quant": 7,
    "mobilenet_v1_0.25_128_quant": 5,
    "mobilenet_v2_1.0_224_quant": 7,
    "tf2_mobilenet_v2_1.0_224_ptq": 7,
}
"""How many pictures LiteRT's reference kernels get right."""


@pytest.mark.parametrize(("name", "right"), RIGHT.items())
def test_first_class(shared: Path, name: str, right: int) -> None:
    path = shared / "models" / f"{name}.tflite"
    seen = tied = 0
    with Inference(path, device="simulator", cache="off") as inference:
        graph = inference.graph
        names = read_labels(shared / "labels/labels_mobilenet_quant_v1_224.txt", 1001)
        for picture, label in EXPECTED.items():
            values = picture_for(shared / "pictures" / picture, graph.tensors[graph.inputs[0]])
            wanted = reference(path, [values])[graph.outputs[0]]
            (found,) = inference.run([values])
            if names[int(np.argmax(wanted))] == label:
                seen += 1
                # The smallest model finds two cats equally likely, which LiteRT has at 32 and 28 of 256.
                best = [names[int(number)] for number in np.flatnonzero(found[0] == found.max())]
                assert label in best, f"{picture}: {best}"
                tied += len(best) > 1
    assert seen == right
    assert tied == (name == "mobilenet_v1_0.25_128_quant")
