"""Boxes, names and scores on a picture."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rocketnpu.vision.detections import Detection
from rocketnpu.vision.letterbox import Pixels

_GOLDEN = 0.618
"""Steps of the hue from one class to the next, so that neighbours differ."""
_LINE, _TEXT = 200, 28
"""Parts of the picture's smaller side that a line is thick, and a letter high."""
_CAPTION, _MARGIN = 18, 6
"""Parts of the smaller side that a caption's letter is high, and pixels around it."""
_SMALLEST = 10


def draw(pixels: Pixels, found: Sequence[Detection]) -> Pixels:
    """Return a copy of a picture, ``(rows, columns, 3)``, with its detections drawn: boxes, then names."""
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    side = min(pixels.shape[:2])
    font = _font(max(_SMALLEST, side // _TEXT))
    rising = sorted(found, key=lambda one: one.score)
    for one in rising:
        canvas.rectangle(one.box, outline=colour_of(one.number), width=max(1, side // _LINE))
    for one in rising:
        colour = colour_of(one.number)
        text = f"{one.label} {one.score:.2f}"
        left, top = one.box[0], one.box[1]
        wide, high = canvas.textbbox((0, 0), text, font=font)[2:]
        top = top - high - 2 if top >= high + 2 else top
        canvas.rectangle((left, top, left + wide + 4, top + high + 2), fill=colour)
        canvas.text((left + 2, top), text, fill=(0, 0, 0), font=font)
    return np.asarray(image, np.uint8)


def caption(pixels: Pixels, lines: Sequence[str]) -> Pixels:
    """Return a copy of a picture, ``(rows, columns, 3)``, with lines of text in its top left corner."""
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    font = _font(max(_SMALLEST, min(pixels.shape[:2]) // _CAPTION))
    text = "\n".join(lines)
    wide, high = canvas.multiline_textbbox((_MARGIN, _MARGIN), text, font=font)[2:]
    canvas.rectangle((0, 0, wide + _MARGIN, high + _MARGIN), fill=(255, 255, 255))
    canvas.multiline_text((_MARGIN, _MARGIN), text, fill=(0, 0, 0), font=font)
    return np.asarray(image, np.uint8)


def colour_of(number: int) -> tuple[int, int, int]:
    """Return a class's colour: light, so that black letters can be read on it."""
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.55, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has its font in one size
        return ImageFont.load_default()
