"""``rocketnpu detect``: what is in pictures or a video, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rocketnpu.cli.vision.looking import Asked, Look, look_through, looking_options

if TYPE_CHECKING:
    from rocketnpu.vision.detections import Detection

_SHOWN = 3
"""Detections of a frame that are printed where there are many frames."""


@click.command()
@click.option("-t", "--threshold", type=click.FloatRange(0, 1), default=0.4, show_default=True, help="Least score.")
@looking_options
def detect(threshold: float, **asked: Any) -> None:
    """Find things in a picture, a folder of pictures or a video, and write them out with boxes.

    Names are COCO's where no labels are given and the number of classes fits.
    Known are SSD with its post-process inside, YOLOv5, YOLOv8 and YOLO11 as they are exported. Folders and videos use
    all cores. A picture of a folder that cannot be read is said so, and the others are done. Frames per second count
    everything, reading and drawing too.
    """
    from rocketnpu.vision.detector import Detector
    from rocketnpu.vision.drawing import draw

    def start(model: Path, options: dict[str, Any]) -> Detector:
        return Detector(model, labels, threshold, **options)

    labels = asked["labels"]
    look_through(Asked(**asked), start, lambda detector: Look(detector.detect, draw, _lines, _document))


def _document(found: Sequence[Detection]) -> dict[str, Any]:
    return {"detections": [asdict(one) for one in found]}


def _lines(found: Sequence[Detection], alone: bool) -> Sequence[str]:
    if not found:
        return ["nothing"]
    if alone:
        return [
            f"{one.score:.2f}: {one.label}  {one.box[0]:.0f},{one.box[1]:.0f} to {one.box[2]:.0f},{one.box[3]:.0f}"
            for one in found
        ]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    shown = ", ".join(f"{one.label} {one.score:.2f}" for one in found[:_SHOWN])
    return [f"{shown}{more}"]
