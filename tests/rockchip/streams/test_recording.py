"""Reading recordings, right ones and broken ones."""

import contextlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocketnpu.errors import InputError
from rocketnpu.rockchip.streams.recording import load

PACKAGED = Path(__file__).resolve().parents[2] / "data" / "golden"
NAME = "conv_conv_add_u8"


@pytest.fixture
def folder(tmp_path):
    with zipfile.ZipFile(PACKAGED / f"{NAME}.zip") as archive:
        archive.extractall(tmp_path / "recording")
    return tmp_path / "recording"


def edit(folder, change):
    path = folder / "recording.json"
    root = json.loads(path.read_text())
    change(root)
    path.write_text(json.dumps(root))


def test_what_a_recording_holds():
    recording = load(PACKAGED / f"{NAME}.zip")
    assert recording.producer.startswith("mesa-teflon-delegate 26.2.6")
    assert recording.model == f"{NAME}.tflite"
    (submission,) = recording.submissions
    assert [len(job.tasks) for job in submission.jobs] == [1, 1]
    assert [(job.reads, job.writes) for job in submission.jobs] == [((5,), (6,)), ((6, 6), (7,))]
    assert [operation.outputs for operation in submission.operations] == [(3,), (6,)]
    weights = submission.buffers[0]
    assert (weights.handle, weights.address, weights.size, weights.role) == (1, 0, 2048, "weights")
    assert weights.content().size == 2048
    assert not submission.buffers[5].content().any()
    assert recording.inputs[0].shape == (1, 16, 16, 32)
    assert (recording.inputs[0].scale, recording.inputs[0].zero_point) == (np.float32(0.05), 128)
    assert len(recording.input_data[0]) == 16 * 16 * 32
    assert recording.reference[7].shape == (1, 16, 16, 32)


def test_a_directory_reads_the_same(folder):
    one, other = load(folder), load(PACKAGED / f"{NAME}.zip")
    assert one.submissions == other.submissions
    assert all(np.array_equal(one.reference[key], value) for key, value in other.reference.items())


def test_contents_are_fresh_copies():
    buffer = load(PACKAGED / f"{NAME}.zip").submissions[0].buffers[0]
    buffer.content()[:] = 0
    assert buffer.content().any()


def test_reference_and_operations_are_optional(folder):
    (folder / "reference.npz").unlink()
    edit(folder, lambda root: root["submits"][0].pop("operations"))
    recording = load(folder)
    assert recording.reference == {}
    assert recording.submissions[0].operations == ()


def first_buffer(root):
    return root["submits"][0]["buffers"][0]


def first_job(root):
    return root["submits"][0]["jobs"][0]


BROKEN = {
    "format 2": lambda root: root.update(format=2),
    "'producer' should be a text": lambda root: root.pop("producer"),
    "'submits' should be a list": lambda root: root.update(submits={}),
    "'buffers' should be a list": lambda root: root.update(submits=[3]),
    "same handle": lambda root: first_buffer(root).update(handle=2),
    "overlaps": lambda root: first_buffer(root).update(size=8192),
    "no part of a 32-bit": lambda root: first_buffer(root).update(dma_address=(1 << 32) - 16),
    "'size' should be": lambda root: first_buffer(root).update(size=-1),
    "'dma_address' should be": lambda root: first_buffer(root).update(dma_address=True),
    "holds 2048 bytes for a buffer of 16": lambda root: first_buffer(root).update(size=16),
    "is missing": lambda root: first_buffer(root).update(file="submit0/nothing.bin"),
    "no name of a file": lambda root: first_buffer(root).update(file="../../etc/hostname"),
    "'/etc/hostname' is no name": lambda root: first_buffer(root).update(file="/etc/hostname"),
    "names buffer 99": lambda root: first_job(root).update(in_bos=[99]),
    "lie in no buffer": lambda root: first_job(root)["tasks"][0].update(regcmd_count=999),
    "names jobs": lambda root: root["submits"][0]["operations"][0].update(jobs=[2]),
    "'outputs' should hold indices": lambda root: root["submits"][0]["operations"][0]["tensors"].update(outputs=["a"]),
    "has shape": lambda root: root["inputs"][0].update(shape=["a"]),
    "has zero point": lambda root: root["inputs"][0].update(quantization=[0.1, "a"]),
}


@pytest.mark.parametrize("text", BROKEN)
def test_broken_recordings_are_named(folder, text):
    edit(folder, BROKEN[text])
    with pytest.raises(InputError, match=text.replace("(", r"\(")) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(("words", "times"), [((1 << 27) - 1, 1), (1 << 17, 17)])
def test_lists_that_no_file_fills_are_not_millions_of_words(folder, words, times):
    """Nine kilobytes of recording that took a minute and three gigabytes to print."""

    def change(root):
        (submission,) = root["submits"]
        submission["buffers"].append({"handle": 99, "dma_address": 1 << 28, "size": 1 << 30, "role": "regcmd"})
        task = {"regcmd": 1 << 28, "regcmd_count": words}
        submission["jobs"].append({"tasks": [task] * times, "in_bos": [], "out_bos": [], "operation": 0})

    edit(folder, change)
    with pytest.raises(InputError, match=r"its tasks have [\d,]+ command words, more than the 2,097,152 that are read"):
        load(folder)


def test_no_recording_at_all(tmp_path):
    with pytest.raises(InputError, match="cannot read recording"):
        load(tmp_path / "nothing.zip")
    with pytest.raises(InputError, match=r"no recording\.json"):
        load(tmp_path)
    (tmp_path / "recording.json").write_text("{")
    with pytest.raises(InputError, match=r"recording\.json"):
        load(tmp_path)
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "text.zip")


def test_a_damaged_reference_is_named(folder):
    (folder / "reference.npz").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(InputError, match=r"reference\.npz"):
        load(folder)


@given(st.integers(0, 40000), st.integers(0, 7))
def test_flipped_bits_never_end_in_a_traceback(tmp_path_factory, place, bit):
    target = tmp_path_factory.mktemp("flipped") / "recording.zip"
    shutil.copyfile(PACKAGED / "edge_dwconv3x3_u8_c24.zip", target)
    data = bytearray(target.read_bytes())
    data[place % len(data)] ^= 1 << bit
    target.write_bytes(data)
    with contextlib.suppress(InputError):
        load(target)
