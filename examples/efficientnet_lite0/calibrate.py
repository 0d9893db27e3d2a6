"""What values each activation of the float model takes on pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from network import SIZE
from PIL import Image

from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from rocketnpu.pictures import load_picture

MIDDLE, SPAN = 127, 128
"""A pixel goes in as ``(pixel - 127) / 128``, as in the training of the EfficientNet-Lite family."""
INPUT_RANGE = (-MIDDLE / SPAN, (255 - MIDDLE) / SPAN)

Ranges = dict[str, tuple[float, float]]


def prepared(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return pixels as the float model takes them."""
    return ((pixels.astype(np.float32) - MIDDLE) / SPAN).astype(np.float32)


def views(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """Return a picture whole, its quarters and its middle, each also as a negative and with red and blue exchanged."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    width, height = picture.size
    boxes = [(x, y, x + width // 2, y + height // 2) for y in (0, height // 2) for x in (0, width // 2)]
    boxes.append((width // 4, height // 4, 3 * width // 4, 3 * height // 4))
    pixels = [load_picture(path, SIZE, SIZE)[0]]
    pixels += [np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)) for box in boxes]
    for found in pixels:
        yield from (found, 255 - found, found[:, :, ::-1])


def measure(model: bytes, pictures: Sequence[Path]) -> Ranges:
    """Return the smallest and largest value of each activation by its name, as LiteRT's reference kernels compute it.

    Those kernels take the same steps on every processor of a kind, which the faster ones do not.
    """
    graph = tflite.parse(model)
    names = {number: tensor.name for number, tensor in graph.tensors.items() if not tensor.is_constant}
    low, high = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
    for picture in pictures:
        for pixels in views(picture):
            values: dict[int, Any] = reference(model, [prepared(pixels)[None]])
            for number in names:
                low[number] = min(low[number], float(values[number].min()))
                high[number] = max(high[number], float(values[number].max()))
    ranges = {name: (low[number], high[number]) for number, name in names.items()}
    return ranges | {names[graph.inputs[0]]: INPUT_RANGE}
