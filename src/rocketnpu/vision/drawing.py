"""Boxes, names and scores on a picture."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rocketnpu.vision.detections import Detection
from rocketnpu.vision.letterbox import Pixels
from rocketnpu.vision.poses import BONES, VISIBLE, Pose
from rocketnpu.vision.segmenter import MOST_CLASSES, Regions

_GOLDEN = 0.618
"""Steps of the hue from one class to the next, so that neighbours differ."""
_LINE, _TEXT = 200, 28
"""Parts of the picture's smaller side that a line is thick, and a letter high."""
_CAPTION, _MARGIN = 18, 6
"""Parts of the smaller side that a caption's letter is high, and pixels around it."""
_SMALLEST = 10
_BONE, _POINT = (255, 200, 60), (255, 60, 60)


def draw(pixels: Pixels, found: Sequence[Detection]) -> Pixels:
    """Return a copy of a picture, ``(rows, columns, 3)``, with its detections drawn: boxes, then names."""
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    side = min(pixels.shape[:2])
    font = _font(max(_SMALLEST, side // _TEXT))
    rising = sorted(found, key=lambda one: one.score)
    for one in rising:
        canvas.rectangle(one.box, outline=colour_of(one.number), width=max(2, side // _LINE))
    for one in rising:
        colour = colour_of(one.number)
        text = f"{one.label} {one.score:.2f}"
        left, top = one.box[0], one.box[1]
        wide, high = canvas.textbbox((0, 0), text, font=font)[2:]
        top = top - high - 2 if top >= high + 2 else top
        canvas.rectangle((left, top, left + wide + 4, top + high + 2), fill=colour)
        canvas.text((left + 2, top), text, fill=(0, 0, 0), font=font)
    return np.asarray(image, np.uint8)


def draw_poses(pixels: Pixels, found: Sequence[Pose]) -> Pixels:
    """Return a copy of a picture, ``(rows, columns, 3)``, with boxes, and lines between points that are seen."""
    image = Image.fromarray(draw(pixels, [pose.whole for pose in found]))
    canvas = ImageDraw.Draw(image)
    thick = max(2, min(pixels.shape[:2]) // _LINE)
    for pose in found:
        seen = {point.name: (point.x, point.y) for point in pose.points if point.score >= VISIBLE}
        for one, other in BONES:
            if one in seen and other in seen:
                canvas.line((*seen[one], *seen[other]), fill=_BONE, width=thick)
        for x, y in seen.values():
            canvas.ellipse((x - thick, y - thick, x + thick, y + thick), fill=_POINT)
    return np.asarray(image, np.uint8)


def paint(pixels: Pixels, found: Regions) -> Pixels:
    """Return a copy of a picture, ``(rows, columns, 3)``, half covered by its regions' colours, with their names."""
    there = [number for number in found.shares() if number]
    colours = np.array([colour_of(number) for number in range(MOST_CLASSES)], np.uint16)
    mixed = ((pixels + colours[found.classes]) // 2).astype(np.uint8)
    painted = np.where((found.classes > 0)[..., None], mixed, pixels)
    return caption(painted, [found.name(number) for number in there], [colour_of(number) for number in there])


def caption(pixels: Pixels, lines: Sequence[str], colours: Sequence[tuple[int, int, int]] = ()) -> Pixels:
    """Return a copy of a picture, ``(rows, columns, 3)``, with lines of text in its top left corner.

    Each has a ground of its colour, white where there is none.
    """
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    font = _font(max(_SMALLEST, min(pixels.shape[:2]) // _CAPTION))
    boxes = [canvas.textbbox((_MARGIN, 0), line, font=font) for line in lines]
    wide, high = (max((box[side] for box in boxes), default=0) for side in (2, 3))
    for number, line in enumerate(lines):
        top = number * (high + _MARGIN)
        ground = colours[number] if number < len(colours) else (255, 255, 255)
        canvas.rectangle((0, top, wide + _MARGIN, top + high + _MARGIN), fill=ground)
        canvas.text((_MARGIN, top + _MARGIN // 2), line, fill=(0, 0, 0), font=font)
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
