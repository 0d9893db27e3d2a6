"""Say what is in a picture: a TensorFlow Lite program that knows nothing of the NPU but one optional argument.

    python classification.py -i hens.jpg -m mobilenet_v1_1.0_224_quant.tflite -l labels.txt -e librocketnpu_delegate.so

``-e`` names a delegate library, such as the one that ``rocketnpu build-delegate`` makes; without it the CPU runs all.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

try:
    from ai_edge_litert.interpreter import Interpreter, load_delegate
except ImportError:
    from tflite_runtime.interpreter import Interpreter, load_delegate

TOP = 5


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Classify a picture with a TensorFlow Lite model.")
    parser.add_argument("-i", "--image", required=True, help="picture to classify")
    parser.add_argument("-m", "--model_file", required=True, help=".tflite model")
    parser.add_argument("-l", "--label_file", required=True, help="names of the classes, a line each")
    parser.add_argument("-e", "--ext_delegate", help="delegate library that runs part of the model")
    parser.add_argument("-o", "--ext_delegate_options", default="", help='its options, as "key:value;key:value"')
    chosen = parser.parse_args()
    for pair in filter(None, chosen.ext_delegate_options.split(";")):
        if ":" not in pair:
            parser.error(f'argument -o: {pair!r} is no option of the form "key:value"')
    return chosen


def delegates(path: str | None, options: str) -> list[Any]:
    """Load the delegate library, if one is named."""
    if path is None:
        return []
    pairs = (pair.split(":", 1) for pair in options.split(";") if pair)
    return [load_delegate(str(Path(path).resolve()), {key.strip(): value.strip() for key, value in pairs})]


def pixels(path: str, detail: dict[str, Any]) -> Any:
    """Read the picture in the size and element type of the model's input."""
    _, height, width, _ = detail["shape"]
    values = np.asarray(Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BILINEAR))[np.newaxis]
    if detail["dtype"] == np.int8:
        return (values.astype(np.int16) - 128).astype(np.int8)
    if detail["dtype"] == np.float32:
        return np.float32(values) / 127.5 - 1
    return values


def scores(interpreter: Any) -> Any:
    """Read the first output as real numbers."""
    detail = interpreter.get_output_details()[0]
    values = np.squeeze(interpreter.get_tensor(detail["index"])).astype(np.float32)
    scale, zero_point = detail["quantization"]
    return (values - zero_point) * scale if scale else values


def main() -> None:
    """Classify once and print the best classes and the time."""
    chosen = arguments()
    interpreter = Interpreter(
        model_path=chosen.model_file,
        experimental_delegates=delegates(chosen.ext_delegate, chosen.ext_delegate_options),
    )
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    interpreter.set_tensor(detail["index"], pixels(chosen.image, detail))
    start = time.perf_counter()
    interpreter.invoke()
    milliseconds = (time.perf_counter() - start) * 1e3
    labels = Path(chosen.label_file).read_text(encoding="utf-8").splitlines()
    found = scores(interpreter)
    for index in np.argsort(-found, kind="stable")[:TOP]:
        print(f"{found[index]:.2f}: {labels[index]}")
    print(f"time: {milliseconds:.1f}ms")


if __name__ == "__main__":
    main()
