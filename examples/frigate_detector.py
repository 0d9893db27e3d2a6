"""Find things as Frigate's detector for TensorFlow Lite delegates (``teflon_tfl``) does: the same calls, in our words.

    python frigate_detector.py -i hens.jpg -m ssdlite_mobiledet.tflite -e librocketnpu_delegate.so

Frigate itself loads ``/usr/lib/teflon/libteflon.so``: the library that ``rocketnpu build-delegate`` makes, put there
(mounted into its container), serves it without a change. It wants a model with TensorFlow's post-process inside.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

try:
    from ai_edge_litert.interpreter import Interpreter, load_delegate
except ImportError:
    from tflite_runtime.interpreter import Interpreter, load_delegate

ROWS = 20
"""Frigate looks at so many detections of a picture,"""
THRESHOLD = 0.4
"""of at least this score."""


class Detector:
    """An interpreter with a delegate, called as Frigate calls it."""

    def __init__(self, model: str, library: str) -> None:
        """Load the delegate without options, and the model with it."""
        delegate = load_delegate(library, {})
        self.interpreter = Interpreter(model_path=model, experimental_delegates=[delegate])
        self.interpreter.allocate_tensors()
        self.inputs = self.interpreter.get_input_details()
        self.outputs = self.interpreter.get_output_details()

    def detect_raw(self, pixels: Any) -> Any:
        """Return rows of class, score, top, left, bottom and right (shares of the picture), zeros behind the last.

        Outputs are read in place, through views of the interpreter's own memory.
        """
        self.interpreter.set_tensor(self.inputs[0]["index"], pixels)
        self.interpreter.invoke()
        boxes, classes, scores, count = (self.interpreter.tensor(one["index"])()[0] for one in self.outputs)
        found = np.zeros((ROWS, 6), np.float32)
        for row in range(min(int(count), ROWS)):
            if scores[row] < THRESHOLD:
                break
            found[row] = [classes[row], scores[row], *boxes[row]]
        return found


def main() -> None:
    """Detect once and print what was found."""
    parser = argparse.ArgumentParser(description="Detect things in a picture, as Frigate does.")
    parser.add_argument("-i", "--image", required=True, help="picture")
    parser.add_argument("-m", "--model", required=True, help=".tflite model with post-process")
    parser.add_argument("-e", "--delegate", required=True, help="delegate library")
    chosen = parser.parse_args()
    detector = Detector(chosen.model, str(Path(chosen.delegate).resolve()))
    _, height, width, _ = detector.inputs[0]["shape"]
    picture = Image.open(chosen.image).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    for number, score, *box in detector.detect_raw(np.asarray(picture, np.uint8)[np.newaxis]):
        if score:
            print(f"class {int(number)} {score:.4f} {' '.join(f'{edge:.4f}' for edge in box)}")


if __name__ == "__main__":
    main()
