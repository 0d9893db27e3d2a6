"""The calls of Frigate's detector, with our library where it expects Mesa's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from rocketnpu.inference import Inference
from rocketnpu.pictures import load_picture

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_frigates_calls_find_the_hens(library: Path, mobiledet: Path) -> None:
    hens = EXAMPLES / "hens.jpg"
    command = [sys.executable, EXAMPLES / "frigate_detector.py", "-i", hens, "-m", mobiledet, "-e", library]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=300)
    found = [line.split() for line in done.stdout.splitlines()]
    with Inference(mobiledet, device="simulator", cache="off") as inference:
        boxes, classes, scores, _ = (np.asarray(one)[0] for one in inference.run([load_picture(hens, 320, 320)]))
    wanted = [
        ["class", f"{number:.0f}", f"{score:.4f}", *(f"{edge:.4f}" for edge in box)]
        for number, score, box in zip(classes, scores, boxes, strict=True)
        if score >= 0.4
    ]
    assert found == wanted[:20]
    assert found[0][1] == "15", "a bird"
