"""``rocketnpu pose``: people in pictures or a video, and their joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rocketnpu.cli.output import counted
from rocketnpu.cli.vision.looking import Asked, Look, look_through, looking_options

if TYPE_CHECKING:
    from rocketnpu.vision.poses import Pose, Poser


@click.command()
@click.option("-t", "--threshold", type=click.FloatRange(0, 1), default=0.4, show_default=True, help="Least score.")
@looking_options
def pose(threshold: float, **asked: Any) -> None:
    """Find people and their joints in a picture, a folder of pictures or a video, and write them out with lines.

    Known are YOLOv8-pose and YOLO11-pose as they are exported; labels are not needed. Everything else is as `detect`
    has it.
    """
    from rocketnpu.vision.drawing import draw_poses
    from rocketnpu.vision.poses import Poser

    def start(model: Path, options: dict[str, Any]) -> Poser:
        return Poser(model, threshold, **options)

    look_through(Asked(**asked), start, lambda poser: Look(poser.find, draw_poses, _lines, _document))


def _document(found: Sequence[Pose]) -> dict[str, Any]:
    return {"poses": [{**asdict(one.whole), "points": [asdict(point) for point in one.points]} for one in found]}


def _lines(found: Sequence[Pose], alone: bool) -> Sequence[str]:
    from rocketnpu.vision.poses import VISIBLE

    if not alone:
        return ["1 person" if len(found) == 1 else f"{len(found)} people"]
    lines = []
    for one in found:
        seen = [point for point in one.points if point.score >= VISIBLE]
        lines.append(f"{one.whole.score:.2f}: {counted(len(seen), 'point')} of {len(one.points)} seen")
        lines += [f"    {point.name} {point.x:.0f},{point.y:.0f}" for point in seen]
    return lines or ["nobody"]
