"""Replaying recordings of the etnaviv driver: operators against the reference, defects by name."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import vsi_recordings as recorded

from rocketnpu.cli.main import run
from rocketnpu.errors import InputError
from rocketnpu.inspect.recorded_model import recorded_model
from rocketnpu.model import tflite
from rocketnpu.verisilicon.streams.recording import load
from rocketnpu.verisilicon.streams.replay import replay

NAMED = {
    "add": "the constant of the addition",
    "i8": "not lifted by 128",
    "c7x7": "begins in x at -2 instead of -3",
    "d3x3_s2_u8_7x7x32": "begins in x at 0 instead of -1",
    "dwconv3x3_u8_s2_17x17": "begins in x at 0 instead of -1",
    "fc_u8": "kernel after kernel, in memory order",
    "mult2": "a depth multiplier of 2",
    "sub": "a subtraction",
}
"""What the defect of a stream is called, by a part of the recording's name; the first that fits."""
UNSHUFFLED = ("a311d", "d3x3_s2_u8_7x7x32")


def model_of(path):
    recording = load(path)
    graph = recorded_model(path, recording.model, recording.model_sha256)
    shared = recorded.folder().parents[1]
    for folder in (shared / "models", shared / "golden" / "mesa"):
        if graph is None and (folder / recording.model).is_file():
            graph = tflite.load(folder / recording.model)
    assert graph is not None, path
    return recording, graph


def cases():
    return [(chip, path) for chip in recorded.CHIPS for path in recorded.single(chip)]


@pytest.mark.parametrize(("chip", "path"), cases(), ids=lambda value: getattr(value, "stem", value))
def test_defects_are_named_and_right_streams_have_none(chip, path):
    found = replay(*model_of(path))
    defects = [defect for operator in found.operators for defect in operator.defects]
    if path.stem not in recorded.WRONG[chip]:
        assert found.is_good
        assert not defects
        assert all(operator.difference.maximum <= 1 for operator in found.operators)
        return
    assert not found.is_good
    wanted = next(words for part, words in NAMED.items() if part in path.stem)
    if (chip, path.stem) == UNSHUFFLED:
        wanted = "those of an image split into four"
    assert any(wanted in defect for defect in defects), defects


@pytest.mark.parametrize("name", ["add_u8_8x8x16", "add_i8_8x8x16", "add_u8_7x7x24"])
def test_an_addition_with_the_right_constant_is_within_one(name, tmp_path):
    """The defect is the constant and nothing else: the named value put in its place mends the stream."""
    path = next((p for p in recorded.single("a311d") if p.stem == name), None)
    if path is None:
        pytest.skip("no shared folder: set ROCKETNPU_SHARED, or place 'shared' beside the checkout")
    recording, graph = model_of(path)
    (operator,) = replay(recording, graph).operators
    words = next(defect for defect in operator.defects if "constant" in defect).replace(",", "").split()
    wrong, right = int(words[6]), int(words[-1])

    def mend(_root, files):
        needle = np.array([wrong], "<i4").tobytes()
        for file, data in files.items():
            bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little") if file.endswith(".bin") else []
            # The constant lies behind 8 + 16 bits and the first weight of the only kernel.
            at = 64 * 8 + 32
            if len(bits) > at + 32 and np.packbits(bits[at : at + 32], bitorder="little").tobytes() == needle:
                fixed = np.unpackbits(np.array([right], "<i4").view(np.uint8), bitorder="little")
                files[file] = np.packbits(
                    np.concatenate([bits[:at], fixed, bits[at + 32 :]]), bitorder="little"
                ).tobytes()

    mended = load(recorded.copy_with(path, tmp_path / f"{name}.zip", mend))
    (operator,) = replay(mended, graph).operators
    assert operator.defects == ()
    assert operator.difference.maximum <= 1


@pytest.mark.parametrize(("chip", "most", "differing"), [("a311d", 0, 0), ("imx8mp", 2, 2)])
def test_mobilenet_v1_end_to_end(chip, most, differing):
    path = recorded.folder() / chip / "mobilenet_v1_1.0_224_quant.zip"
    if not path.is_file():
        pytest.skip("no shared folder: set ROCKETNPU_SHARED, or place 'shared' beside the checkout")
    recording, graph = model_of(path)
    found = replay(recording, graph)
    assert found.is_good
    assert len(found.operators) == 28
    (output,) = found.outputs
    assert (output.difference.maximum, output.difference.differing) == (most, differing)


def test_a_small_mobilenet_with_relu6_is_wrong_on_one_generation():
    paths = [recorded.folder() / chip / "mobilenet_v1_0.25_128_quant.zip" for chip in recorded.CHIPS]
    if not paths[0].is_file():
        pytest.skip("no shared folder: set ROCKETNPU_SHARED, or place 'shared' beside the checkout")
    wrong, right = (replay(*model_of(path)) for path in paths)
    named = [operator for operator in wrong.operators if operator.defects]
    assert len(named) == 13
    assert all("1x1 are written channel by channel" in operator.defects[0] for operator in named)
    assert all(operator.kind == "CONV_2D" for operator in named)
    assert right.is_good


@pytest.mark.parametrize("chip", recorded.CHIPS)
def test_additions_of_unlike_layouts_are_named(chip):
    path = recorded.folder() / chip / "residual_u8.zip"
    if not path.is_file():
        pytest.skip("no shared folder: set ROCKETNPU_SHARED, or place 'shared' beside the checkout")
    found = replay(*model_of(path))
    defects = [defect for operator in found.operators for defect in operator.defects]
    assert "operand 0 lies pixel by pixel as the host gave it, the other in planes" in defects
    assert "its input is transposed, but lies in planes already" in defects


def test_the_verb(capsys):
    right = recorded.PACKAGED / "imx8mp" / "edge_conv1x1_u8_ic33.zip"
    wrong = recorded.PACKAGED / "a311d" / "c7x7_s1_u8_16x16x4_8.zip"
    assert run(["replay", str(right)]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 operators within 1 of the reference given the operator's own inputs, the worst off by 0" in out
    assert "exact" not in out
    assert run(["replay", str(wrong)]) == 1
    assert "begins in x at -2 instead of -3" in capsys.readouterr().out
    assert run(["replay", "--json", str(right), str(wrong)]) == 1
    documents = json.loads(capsys.readouterr().out)
    assert [document["good"] for document in documents] == [True, False]


def test_streams_compared(capsys):
    folder = recorded.PACKAGED / "imx8mp"
    one, other = folder / "edge_conv1x1_u8_ic33.zip", folder / "edge_dwconv3x3_u8_c33.zip"
    assert run(["replay", str(one), "--beside", str(one)]) == 0
    assert "0 differences" in capsys.readouterr().out
    assert run(["replay", str(one), "--beside", str(other)]) == 1
    assert "NN.KERNEL_X" in capsys.readouterr().out
    assert run(["replay", str(one), "--beside", str(recorded.PACKAGED / "a311d" / one.name)]) == 2
    assert run(["replay", "--beside-ours", str(one)]) == 0
    assert "1 convolutions beside ours" in capsys.readouterr().out
    assert run(["replay", "--beside-ours", str(folder / "c7x7_s1_u8_16x16x4_8.zip")]) == 1
    assert "NN.IN_X_OFFSET" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: root.update(format=3), "format 3"),
        (lambda root: root["chip"].update(model=1), "chip 0x1 revision"),
        (lambda root: root["chip"].update(revision=0x7131, product_id=0x08000001), "s905d3 has not been tried"),
        (lambda root: root["submits"][1]["stream"].append(-1), "something else than 32-bit words"),
        (lambda root: root["submits"][1]["buffers"][0].update(address=1 << 33), "no part of a 32-bit address space"),
        (lambda root: root["submits"][1]["buffers"].append(root["submits"][1]["buffers"][0]), "the same handle"),
        (lambda root: root["plan"][0].update(inputs=["x"]), "an operator reads tensors"),
    ],
)
def test_damaged_recordings_are_refused(change, said, tmp_path):
    path = recorded.PACKAGED / "a311d" / "edge_conv1x1_u8_ic33.zip"
    broken = recorded.copy_with(path, tmp_path / "broken.zip", lambda root, _files: change(root))
    with pytest.raises(InputError, match=said):
        load(broken)


def test_what_a_recording_holds_is_listed(capsys):
    assert run(["inspect", "-m", str(recorded.PACKAGED / "a311d" / "d3x3_s2_u8_7x7x32.zip")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["submission", "job", "unit"]
    assert "32 of 2x2x128, 4 per core" in lines[3]
    assert "full 0x800..0x1200" in lines[3]
    assert run(["inspect", "--json", "-m", str(recorded.PACKAGED / "imx8mp" / "c5x5_valid_u8_12x12x8_16.zip")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [job["unit"] for job in document["jobs"]] == ["TP", "NN", "TP"]
    assert document["jobs"][1]["kernel cache"] == "none"


@pytest.mark.parametrize("chip", recorded.CHIPS)
def test_published_failures_have_named_defects_and_passes_have_none(chip):
    """All but the one stream whose single byte is right on the published test's own data (test_vsi_verdict.py)."""
    paths = recorded.recordings(f"{chip}-verdicts")
    if not paths:
        pytest.skip("no shared folder: set ROCKETNPU_SHARED, or place 'shared' beside the checkout")
    fails = json.loads((recorded.folder() / "verdicts.json").read_text())[chip]["fails"]
    named = set()
    for path in paths:
        found = replay(*model_of(path), tolerance=2)
        assert found.is_good is not any(operator.defects for operator in found.operators), path.stem
        if not found.is_good:
            named.add(path.stem)
    chance = "Conv2D_input_size_5_weight_size_5_input_channels_1_output_channels_1_stride_1_padding_same_0"
    assert named - {chance} == {path.stem for path in paths} & set(fails)
