"""Our streams beside recorded ones: every difference has a class, and its numbers fit the class."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rocketnpu.cli import main
from rocketnpu.inspect.compare import compare_model
from rocketnpu.inspect.recorded_model import recorded_model
from rocketnpu.inspect.reference import reference
from rocketnpu.model.tflite import parse
from rocketnpu.partition.plan import plan
from rocketnpu.rockchip.registers.command import write
from rocketnpu.rockchip.registers.rk3588 import register
from rocketnpu.rockchip.streams.differences_page import differences_page
from rocketnpu.rockchip.streams.recording import Recording, load
from rocketnpu.rockchip.streams.stream_differences import CLASSES
from rocketnpu.rockchip.streams.stream_reasons import BIASES, WEIGHTS
from rocketnpu.rockchip.streams.streams import StreamComparison, compare_streams

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGED = CHECKOUT / "tests" / "data" / "golden"
NAMES = sorted(path.stem for path in PACKAGED.glob("*.zip"))


def compared(path: Path, change=lambda recording: recording) -> StreamComparison:
    recording = load(path)
    graph = recorded_model(path, recording.model, recording.model_sha256)
    assert graph is not None
    return compare_streams(change(recording), graph)


@pytest.mark.parametrize("name", NAMES)
def test_packaged_streams_differ_only_as_listed(name: str) -> None:
    found = compared(PACKAGED / f"{name}.zip")
    assert found.unexplained == ()
    assert found.registers > 100


def test_every_shared_stream_differs_only_as_listed(shared: Path) -> None:
    """And each class that names a recording is found in it."""
    operators, seen = 0, Counter()
    wanted = {(one.shown_by, one.name) for one in CLASSES if one.shown_by}
    for path in sorted((shared / "golden").glob("mesa*/*.zip")):
        found = compared(path)
        assert found.unexplained == (), path.stem
        operators += found.operators
        seen.update(finding.explained_by for finding in found.findings)
        wanted -= {(path.stem, finding.explained_by) for finding in found.findings}
    assert operators >= 170
    assert wanted == set()
    assert {one.name for one in CLASSES if one.shown_by} == set(seen)


def test_weights_and_biases_are_the_recorded_ones(shared: Path) -> None:
    """Of MobileNetV1 1.0/224 all weights, and all biases but those that the truncation list halves."""
    found = compared(shared / "golden" / "mesa" / "mobilenet_v1_1.0_224_embedding.zip")
    assert found.operators == 27
    packed = [finding for finding in found.findings if finding.register in (WEIGHTS, BIASES)]
    assert {finding.register for finding in packed} <= {BIASES}
    assert {finding.explained_by for finding in packed} <= {"truncation-list"}
    assert found.equal_bytes > 3_200_000


@pytest.mark.parametrize("folder", ["packaged", "shared"])
def test_of_one_operator_models_only_listed_ones_differ_in_packed_data(
    folder: str, request: pytest.FixtureRequest
) -> None:
    place = PACKAGED if folder == "packaged" else request.getfixturevalue("shared") / "golden"
    recordings = sorted(place.glob("*.zip" if folder == "packaged" else "mesa*/*.zip"))
    different: dict[str, set[str]] = {}
    for path in recordings:
        for finding in compared(path).findings:
            if finding.register in (WEIGHTS, BIASES):
                different.setdefault(finding.explained_by, set()).add(path.stem)
    listed = {
        "bytes-as-they-are": {"dwconv3x3_i8_pertensor"},
        "depth-multiplier": {"dwconv3x3_u8_mult2"},
        "depthwise-lanes": {"edge_dwconv3x3_u8_c33"},
        "clamp-between": {"conv_conv_add_u8", "resid_conv_plus_input_u8"},
    }
    wanted = {name: paths & {path.stem for path in recordings} for name, paths in listed.items()}
    different.pop("truncation-list", None)
    assert different == {name: paths for name, paths in wanted.items() if paths}


@pytest.mark.parametrize("folder", ["packaged", "shared"])
def test_differences_are_harmless(folder: str, request: pytest.FixtureRequest) -> None:
    """What we compute is within its bound of the reference in every recorded model, whatever class it belongs to."""
    place = PACKAGED if folder == "packaged" else request.getfixturevalue("shared") / "golden" / "mesa"
    for path in sorted(place.glob("*.tflite")):
        graph = parse(path.read_bytes())
        tensor = graph.tensors[graph.inputs[0]]
        limits = np.iinfo(tensor.dtype.value)
        noise = np.random.default_rng(7).integers(limits.min, limits.max, tensor.shape, limits.dtype, endpoint=True)
        found = compare_model(plan(graph), reference(path, [noise]))
        assert found.is_sound, (path.stem, [row for row in found.operators if not row.is_sound])


def edited(recording: Recording, path: str, value: int) -> Recording:
    """Change a register in every list."""
    wanted = register(path)
    submissions = []
    for submission in recording.submissions:
        buffers = []
        for buffer in submission.buffers:
            tasks = [task for job in submission.jobs for task in job.tasks]
            if not any(buffer.address <= task.address < buffer.address + buffer.size for task in tasks):
                buffers.append(buffer)
                continue
            words = buffer.content().view("<u8")
            target = write(path) >> 48
            hit = (words & np.uint64(0xFFFF) == wanted.offset) & (words >> np.uint64(48) == target)
            words[hit] = target << 48 | value << 16 | wanted.offset
            buffers.append(replace(buffer, data=words.tobytes()))
        submissions.append(replace(submission, buffers=tuple(buffers)))
    return replace(recording, submissions=tuple(submissions))


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("conv3x3_u8_same_16x16x16_32", "CNA.CONV_CON2", 0x350),
        ("conv3x3_u8_same_16x16x16_32", "CNA.PAD_CON1", 0x7F),
        ("conv3x3_u8_same_16x16x16_32", "DPU.OUT_CVT_SCALE", 20000),
        ("conv3x3_u8_same_16x16x16_32", "DPU.BS_OW_OP", 3),
        ("conv3x3_u8_same_16x16x16_32", "CNA.CBUF_CON1", 9),
        ("conv3x3_u8_same_16x16x16_32", "CNA.DMA_CON2", 9),
        ("conv3x3_u8_same_16x16x16_32", "CORE.CLIP_TRUNCATE", 2),
        ("conv3x3_u8_rect_12x20x16_16", "CNA.DMA_CON1", 9),
        ("conv3x3_u8_rect_12x20x16_16", "DPU.DST_SURF_STRIDE", 0x100),
        ("conv_conv_add_u8", "DPU.EW_CVT_OFFSET_VALUE", 5),
        ("dwconv3x3_u8_mult2", "DPU.OUT_CVT_OFFSET", 77),
    ],
)
def test_anything_else_is_a_failure(name: str, path: str, value: int) -> None:
    assert compared(PACKAGED / f"{name}.zip").unexplained == ()
    found = compared(PACKAGED / f"{name}.zip", lambda recording: edited(recording, path, value))
    assert path in {finding.register for finding in found.unexplained}
    assert "UNEXPLAINED" in str(found.unexplained[0])


def test_a_changed_weight_is_a_failure() -> None:
    def change(recording: Recording) -> Recording:
        submission = recording.submissions[0]
        data = bytearray(submission.buffers[0].data)
        data[100] ^= 1
        buffers = (replace(submission.buffers[0], data=bytes(data)), *submission.buffers[1:])
        return replace(recording, submissions=(replace(submission, buffers=buffers),))

    found = compared(PACKAGED / "conv3x3_u8_same_16x16x16_32.zip", change)
    assert [finding.register for finding in found.unexplained] == [WEIGHTS]


@pytest.mark.parametrize("path", ["CNA.FEATURE_DATA_ADDR", "DPU.DST_BASE_ADDR"])
def test_a_moved_tile_is_a_failure(shared: Path, path: str) -> None:
    recording = shared / "golden" / "mesa" / "conv3x3_u8_112x112x32_32_split.zip"
    assert compared(recording).unexplained == ()
    found = compared(recording, lambda recording: edited(recording, path, 0x40))
    assert {finding.register for finding in found.unexplained} == {path}


def test_the_verb_puts_streams_beside_ours(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(PACKAGED / "trunc_conv3x3_u8.zip")
    assert main.run(["replay", "--beside-ours", path]) == 0
    assert "truncation-list" in capsys.readouterr().out
    assert main.run(["replay", "--beside-ours", path, "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert {finding["explained_by"] for finding in document["streams"]["findings"]} == {"truncation-list"}


def test_classes_are_complete() -> None:
    assert len({one.name for one in CLASSES}) == len(CLASSES)
    for one in CLASSES:
        assert one.reason.endswith(".")
        assert one.evidence
        for name in one.registers:
            if "." in name:
                assert register(name)


def test_the_page_of_differences_is_up_to_date() -> None:
    page = CHECKOUT / "docs" / "hardware" / "differences.md"
    assert page.read_text() == differences_page(), "print it anew: rocketnpu evidence --page differences"
