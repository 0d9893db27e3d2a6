"""Recordings of stock Mesa for two chips: where they are, and what is known about each."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np

from rocketnpu.verisilicon.streams.machine import Machine, as_tensor
from rocketnpu.verisilicon.streams.recording import load

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGED = CHECKOUT / "tests" / "data" / "verisilicon"
CHIPS = ("a311d", "imx8mp")

CHAINS = ("conv_conv_add_u8", "resid_conv_plus_input_u8", "residual_u8")
NETWORKS = ("mobilenet_v1_0.25_128_quant", "mobilenet_v1_1.0_224_quant")
NOT_TAKEN = ("c3x3_i8_perchannel",)
"""Refused by the producer: nothing was submitted (facts 9.9)."""
WRONG = {
    "a311d": {
        "add_i8_8x8x16": "bias out of the heap; int8 weights are not lifted (9.2, 9.3)",
        "add_u8_7x7x24": "bias out of the heap (9.2)",
        "add_u8_8x8x16": "bias out of the heap (9.2)",
        "c1x1_i8_8x8x32_32": "int8 weights are not lifted (9.3)",
        "c3x3_i8_16x16x16_32": "int8 weights are not lifted (9.3)",
        "c7x7_s1_u8_16x16x4_8": "7x7 begins at -2 (9.4)",
        "d3x3_i8_16x16x32": "int8 weights are not lifted (9.3)",
        "d3x3_s2_u8_7x7x32": "odd stride 2 (9.5, 9.6)",
        "dwconv3x3_i8_pertensor": "int8 weights are not lifted (9.3)",
        "dwconv3x3_u8_s2_17x17x64": "odd stride 2 (9.5)",
        "fc_u8_1024_100": "fully connected in memory order (9.7)",
        "fc_u8_64_32": "fully connected in memory order (9.7)",
        "fc_u8_97_10": "fully connected in memory order (9.7)",
        "sub_u8_8x8x16": "SUB exists for generation 8 only (8)",
    },
    "imx8mp": {
        "c7x7_s1_u8_16x16x4_8": "7x7 begins at -2 (9.4)",
        "d3x3_s2_u8_7x7x32": "odd stride 2 (9.5)",
        "dwconv3x3_u8_mult2": "depth multiplier (9.8)",
    },
}
"""Streams with a defect, by chip: far from the reference, and rightly so. Numbers are sections of facts.md."""
TWO_CONVOLUTIONS = ("concat_u8",)
"""Within 1 of the reference given each operator's own inputs, so within 2 of it end to end."""


def folder() -> Path:
    """All recordings where the shared folder is at hand, else those that come with the tests."""
    named = os.environ.get("ROCKETNPU_SHARED")
    places = [Path(named)] if named else [CHECKOUT.parent / "shared", CHECKOUT / "shared"]
    found = next((place / "golden" / "verisilicon" for place in places if place.is_dir()), PACKAGED)
    return found if found.is_dir() else PACKAGED


def recordings(group: str) -> list[Path]:
    """The zip files of one folder."""
    return sorted((folder() / group).glob("*.zip"))


def single(chip: str) -> list[Path]:
    """Recordings of one operator each."""
    left_out = (*CHAINS, *NETWORKS, *NOT_TAKEN)
    return [path for path in recordings(chip) if path.stem not in left_out]


def found_and_wanted(path):
    """Run the last submission of a recording; return its output and the reference's as numbers."""
    recording = load(path)
    machine = Machine(recording.submissions[-1], recording.soc)
    machine.run()
    wanted = recording.reference[recording.outputs[0].index]
    (data,) = machine.written()
    return as_tensor(data, wanted).astype(int), wanted.astype(int)


def difference(path) -> int:
    """Return the largest difference from the reference."""
    found, wanted = found_and_wanted(path)
    return int(np.abs(found - wanted).max())


def copy_with(path: Path, place: Path, change) -> Path:
    """Write a copy of a recording whose buffers ``change(recording.json, {name: bytes})`` may alter."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    root = json.loads(files["recording.json"])
    change(root, files)
    files["recording.json"] = json.dumps(root).encode()
    with zipfile.ZipFile(place, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return place
