"""``rocketnpu detect``: what is in pictures or a video, and where."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rocketnpu.cli.output import chip_option, json_option, model_option, target_option

if TYPE_CHECKING:
    from rocketnpu.vision.detections import Detection

_SHOWN = 3
"""Detections of a frame that are printed where there are many frames."""


@click.command()
@click.option("-i", "--input", "source", required=True, type=click.Path(path_type=Path), help="Picture, folder, video.")
@model_option
@click.option("-l", "--labels", type=click.Path(path_type=Path), help="Names of the classes; COCO's if they fit.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Picture, folder or video to write, with boxes.")
@click.option("-t", "--threshold", type=click.FloatRange(0, 1), default=0.4, show_default=True, help="Least score.")
@click.option("-d", "--device", default="auto", show_default=True, help="The simulator, or a kernel driver by name.")
@click.option("-c", "--cores", type=click.IntRange(1, 16), help="NPU cores at work; all for a folder or a video.")
@click.option("--allow-unproven", is_flag=True, help="On an NPU: use hardware rules that nobody has proven.")
@chip_option
@target_option
@json_option
def detect(
    source: Path,
    model: str,
    labels: Path | None,
    output: Path | None,
    threshold: float,
    device: str,
    cores: int | None,
    allow_unproven: bool,
    chip: str,
    target: str,
    as_json: bool,
) -> None:
    """Find things in a picture, a folder of pictures or a video, and write them out with boxes.

    Known are SSD with its post-process inside, YOLOv5, YOLOv8 and YOLO11 as they are exported. Folders and videos use
    all cores. A picture of a folder that cannot be read is said so, and the others are done. Frames per second count
    everything, reading and drawing too.
    """
    from rocketnpu.cli.vision.looking import Look, Sink, Where, cores_for, look_at
    from rocketnpu.device.group import IN_FLIGHT
    from rocketnpu.vision.detector import Detector
    from rocketnpu.vision.drawing import draw
    from rocketnpu.vision.frames import Opened
    from rocketnpu.zoo import resolve

    path = resolve(model)
    wanted = "auto" if target == "simulator" else target
    options = {"device": device, "allow_unproven": allow_unproven, "chip": chip, "target": wanted}
    with ExitStack() as stack:
        frames = stack.enter_context(Opened(source)).frames
        sink = stack.enter_context(Sink(source, output, frames))
        used = cores_for(cores, frames.count(), chip)
        in_flight = 1 if frames.count() == 1 else IN_FLIGHT * used
        detector = stack.enter_context(Detector(path, labels, threshold, cores=used, in_flight=in_flight, **options))
        where = Where(detector.device_name, detector.chip, used, in_flight)
        look = Look(detector.detect, draw, _lines, _document)
        look_at(source, frames, sink, look, where, detector.graph, as_json=as_json)


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
