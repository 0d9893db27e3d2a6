"""``rocketnpu detect``: what is in pictures or a video, and where."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rocketnpu.cli.output import chip_option, counted, echo, json_option, model_option, print_json

if TYPE_CHECKING:
    from rocketnpu.vision.detections import Detection
    from rocketnpu.vision.detector import Detector
    from rocketnpu.vision.frames import Frame, Frames

_SHOWN = 3
"""Detections of a frame that are printed where there are many frames."""


@click.command()
@click.option("-i", "--input", "source", required=True, type=click.Path(path_type=Path), help="Picture, folder, video.")
@model_option
@click.option("-l", "--labels", type=click.Path(path_type=Path), help="Names of the classes; COCO's if they fit.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Picture, folder or video to write, with boxes.")
@click.option("-t", "--threshold", type=click.FloatRange(0, 1), default=0.4, show_default=True, help="Least score.")
@click.option("-d", "--device", default="auto", show_default=True, help="The simulator, or a kernel driver by name.")
@click.option("-c", "--cores", type=click.IntRange(1, 16), default=1, show_default=True, help="NPU cores at work.")
@click.option("--allow-unproven", is_flag=True, help="On an NPU: use hardware rules that nobody has proven.")
@chip_option
@json_option
def detect(
    source: Path,
    model: str,
    labels: Path | None,
    output: Path | None,
    threshold: float,
    device: str,
    cores: int,
    allow_unproven: bool,
    chip: str,
    as_json: bool,
) -> None:
    """Find things in a picture, a folder of pictures or a video, and write them out with boxes.

    Known are SSD with its post-process inside, YOLOv5, YOLOv8 and YOLO11 as they are exported. With several cores as
    many frames are worked on at a time. Frames per second count everything, reading and drawing too.
    """
    from rocketnpu.vision.crew import detect_all
    from rocketnpu.vision.detector import Detector
    from rocketnpu.vision.frames import Opened
    from rocketnpu.zoo import resolve

    path = resolve(model)
    options = {"device": device, "allow_unproven": allow_unproven, "chip": chip}
    with ExitStack() as stack:
        frames = stack.enter_context(Opened(source)).frames
        crew = [stack.enter_context(Detector(path, labels, threshold, **options)) for _ in range(cores)]
        sink = stack.enter_context(_Sink(source, output, frames))
        start, found = time.perf_counter(), []
        for frame, detections in _with_bar(detect_all(crew, frames), frames.count()):
            found.append((frame.name, frame.seconds, detections))
            sink.write(frame, detections)
            if not as_json:
                _print(frame, detections, alone=frames.count() == 1)
        elapsed = time.perf_counter() - start
        _finish(crew, found, elapsed, as_json, str(source))


class _Sink(ExitStack):
    """Where drawn frames go: nowhere, a picture, a folder or a video."""

    def __init__(self, source: Path, output: Path | None, frames: Frames) -> None:
        super().__init__()
        self._output, self._frames = output, frames
        self._many = source.is_dir()
        self._video: Any = None
        if output is not None and self._many and not output.is_dir():
            from rocketnpu.errors import InputError

            raise InputError(f"{source} is a folder: -o must be one too, and {output} is none")

    def write(self, frame: Frame, detections: Sequence[Detection]) -> None:
        """Draw and write a frame."""
        if self._output is None:
            return
        from rocketnpu.vision.drawing import draw
        from rocketnpu.vision.frames import VideoWriter, write_picture

        pixels = draw(frame.pixels, detections)
        if self._frames.rate is not None:
            self._video = self._video or self.enter_context(VideoWriter(self._output, self._frames.rate))
            self._video.write(pixels)
        else:
            write_picture(self._output / frame.name if self._many else self._output, pixels)


def _with_bar(results: Iterable[tuple[Frame, list[Detection]]], total: int) -> Iterator[tuple[Frame, list[Detection]]]:
    """Show a bar on stderr if that is a terminal and there are several frames."""
    if total == 1 or not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(results, "detecting", total or None, console=Console(stderr=True), transient=True)


def _print(frame: Frame, detections: Sequence[Detection], *, alone: bool) -> None:
    if alone:
        for one in detections:
            left, top, right, bottom = one.box
            echo(f"{one.score:.2f}: {one.label}  {left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}")
        if not detections:
            echo("nothing")
        return
    shown = ", ".join(f"{one.label} {one.score:.2f}" for one in detections[:_SHOWN])
    more = f" and {len(detections) - _SHOWN} more" if len(detections) > _SHOWN else ""
    echo(f"{frame.name}: {shown or 'nothing'}{more}")


def _finish(
    crew: Sequence[Detector],
    found: Sequence[tuple[str, float | None, list[Detection]]],
    elapsed: float,
    as_json: bool,
    source: str,
) -> None:
    rate = len(found) / elapsed if elapsed else 0.0
    board = _board(crew[0])
    if as_json:
        frames = [
            {"name": name, "seconds": seconds, "detections": [asdict(one) for one in detections]}
            for name, seconds, detections in found
        ]
        document = {"source": source, "device": crew[0].device_name, "frames": frames}
        print_json({**document, "frames per second": rate, "estimate for the board": board})
        return
    echo(f"{counted(len(found), 'frame')} in {elapsed:.1f} s, {rate:.1f} a second, on {crew[0].device_name}", err=True)
    if board is not None:
        told = f"{board['milliseconds']:.1f} ms a frame ({board['low']:.1f} to {board['high']:.1f})"
        echo(f"estimate for a board with one core and the mainline driver: {told}", err=True)


def _board(detector: Detector) -> dict[str, float] | None:
    """Estimate the model's time on a board; None where there is no timing model of the chip, or nothing to time."""
    from rocketnpu.errors import UnsupportedError
    from rocketnpu.estimate.estimate import Conditions
    from rocketnpu.estimate.sources import estimate_model
    from rocketnpu.policy import DEFAULT_CHIP

    try:
        found = estimate_model(detector.graph, Conditions(), DEFAULT_CHIP, allow_unproven=False)
    except UnsupportedError:
        return None
    low, high = found.range_us
    return {"milliseconds": found.total_us / 1e3, "low": low / 1e3, "high": high / 1e3}
