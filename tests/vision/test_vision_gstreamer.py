"""The GStreamer example, with the machine's GStreamer or, where asked, Debian's in a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rocketnpu.board.packages import unpack
from rocketnpu.errors import BoardUnavailableError
from rocketnpu.pictures import read_pixels
from rocketnpu.vision.detector import Detector

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PACKAGES = ("gstreamer1.0-tools", "gstreamer1.0-plugins-base", "gstreamer1.0-plugins-good")
FRAMES = 3


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What finds GStreamer: nothing more, or a folder of this Debian's packages."""
    if shutil.which("gst-launch-1.0"):
        return {}
    if os.environ.get("ROCKETNPU_TEST_HEAVY") != "1":
        pytest.skip("no gst-launch-1.0 here, and it is not fetched: set ROCKETNPU_TEST_HEAVY=1 to fetch it")
    folder = tmp_path_factory.mktemp("gstreamer")
    (folder / "archives" / "partial").mkdir(parents=True)
    command = ["apt-get", "install", "--yes", "--download-only", "--no-install-recommends"]
    options = [f"Dir::Cache::archives={folder / 'archives'}", "Debug::NoLocking=true", "APT::Sandbox::User="]
    arguments = [*command, *(part for option in options for part in ("-o", option)), *PACKAGES]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    found = sorted((folder / "archives").glob("*.deb"))
    if done.returncode or not found:
        pytest.skip(f"Debian's GStreamer cannot be had: {done.stderr.strip()[-300:]}")
    try:
        unpack(found, folder / "root")
    except BoardUnavailableError as error:
        pytest.skip(f"Debian's GStreamer cannot be unpacked: {error}")
    # What this machine has already is not fetched, and found where it is.
    plugins = next((folder / "root" / "usr" / "lib").glob("*/gstreamer-1.0"))
    scanner = next((folder / "root").rglob("gst-plugin-scanner"), None)
    return {
        "PATH": f"{folder / 'root' / 'usr' / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(plugins.parent),
        "GST_PLUGIN_PATH": str(plugins),
        "GST_REGISTRY": str(folder / "registry.bin"),
        **({"GST_PLUGIN_SCANNER": str(scanner)} if scanner else {}),
    }


def test_frames_of_gstreamer_are_looked_at(environment: dict[str, str], mobiledet: Path, tmp_path: Path) -> None:
    picture = tmp_path / "hens.jpg"
    shutil.copy(EXAMPLES / "hens.jpg", picture)
    height, width, _ = read_pixels(picture).shape
    source = f"multifilesrc location={picture} num-buffers={FRAMES} caps=image/jpeg,framerate=5/1 ! jpegdec"
    command = [sys.executable, EXAMPLES / "gstreamer.py", "-m", mobiledet, "-d", "simulator", "-s", f"{width}x{height}"]
    done = subprocess.run(
        [*map(str, command), source],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"frame {number}" for number in range(FRAMES)]
    assert len({line.split(":", 1)[1] for line in lines}) == 1, "equal frames give equal answers"
    with Detector(mobiledet, device="simulator") as detector:
        wanted = detector.detect(read_pixels(picture))
    assert lines[0].count("bird") == len(wanted), "decoders differ by steps of colour, not by birds"
