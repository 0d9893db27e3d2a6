"""Find things in whatever GStreamer plays: its pipeline up to pixels, then the NPU, several frames at a time.

    python gstreamer.py -m ssdlite_mobiledet.tflite "v4l2src ! image/jpeg,width=1280,height=720 ! jpegdec"
    python gstreamer.py -m ssdlite_mobiledet.tflite "filesrc location=film.mp4 ! decodebin"

GStreamer's own program decodes, converts and scales, on its threads; frames come through a pipe. Needs gst-launch-1.0
(Debian: gstreamer1.0-tools and the plugins that the pipeline names) and rocketnpu.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from rocketnpu.pipeline import Pipeline
from rocketnpu.vision.detector import Detector

CORES, IN_FLIGHT = 3, 6
ROW_ALIGNMENT = 4
"""GStreamer pads rows of RGB to so many bytes."""


def launch(source: str, width: int, height: int) -> subprocess.Popen[bytes]:
    """Start GStreamer with a pipeline that ends in frames of RGB on its standard output."""
    caps = f"video/x-raw,format=RGB,width={width},height={height}"
    pipeline = f"{source} ! videoconvert ! videoscale ! {caps} ! fdsink fd=1"
    try:
        return subprocess.Popen(["gst-launch-1.0", "-q", *shlex.split(pipeline)], stdout=subprocess.PIPE)
    except FileNotFoundError:
        sys.exit("there is no gst-launch-1.0; on Debian: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-good")


def frames(stream: IO[bytes], width: int, height: int) -> Iterator[Any]:
    """Read frames, uint8 of (rows, columns, 3), until the stream ends."""
    pitch = -(-width * 3 // ROW_ALIGNMENT) * ROW_ALIGNMENT
    while len(data := stream.read(pitch * height)) == pitch * height:
        yield np.frombuffer(data, np.uint8).reshape(height, pitch)[:, : width * 3].reshape(height, width, 3)


def main() -> None:
    """Print what is in each frame."""
    parser = argparse.ArgumentParser(description="Detect things in a GStreamer pipeline's frames.")
    parser.add_argument("source", help="GStreamer's pipeline up to decoded frames")
    parser.add_argument("-m", "--model", required=True, type=Path, help="a detector, .tflite or .onnx")
    parser.add_argument("-d", "--device", default="auto", help="the simulator, or a kernel driver by name")
    parser.add_argument("-s", "--size", default="640x480", help="columns and rows of the frames")
    chosen = parser.parse_args()
    width, height = (int(size) for size in chosen.size.split("x"))
    with (
        Detector(chosen.model, device=chosen.device, cores=CORES, in_flight=IN_FLIGHT) as detector,
        Pipeline(detector.detect, IN_FLIGHT) as pipeline,
        launch(chosen.source, width, height) as player,
    ):
        assert player.stdout is not None
        for number, found in enumerate(pipeline.results(frames(player.stdout, width, height))):
            shown = ", ".join(f"{one.label} {one.score:.2f} at {one.box}" for one in found)
            print(f"frame {number}: {shown or 'nothing'}")
    sys.exit(player.returncode)


if __name__ == "__main__":
    main()
