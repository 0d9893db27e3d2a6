"""Recorded streams as text, and back to the same bytes."""

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import vsi_recordings as recorded

from rocketnpu.cli.main import run
from rocketnpu.errors import CommandError, InputError, RegisterFieldError
from rocketnpu.verisilicon.registers.nn import NN
from rocketnpu.verisilicon.registers.tp import TP
from rocketnpu.verisilicon.streams import jobs
from rocketnpu.verisilicon.streams.disassembly import assemble, sections, to_archive, to_text
from rocketnpu.verisilicon.streams.recording import load
from rocketnpu.verisilicon.streams.text import instruction_lines, parse_instruction, parse_stream, stream_lines

WORDS = st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([0, 0x08010429, 0x08020A28, 0x0801042E]), max_size=40)


@pytest.mark.parametrize("full", [False, True], ids=["summary", "full"])
@pytest.mark.parametrize("chip", recorded.CHIPS)
def test_every_recording_reads_back_to_its_bytes(chip, full):
    for path in recorded.single(chip):
        recording = load(path)
        text = to_text(recording, path.name, full=full)
        assert assemble(text) == sections(recording, full=full), path.name


def test_what_a_text_says():
    path = recorded.PACKAGED / "a311d" / "edge_dwconv3x3_u8_c33.zip"
    lines = to_text(load(path), path.name, full=False).splitlines()
    assert lines[1] == "CHIP a311d"
    assert "LOAD_STATE PA_SYSTEM_MODE VALUE=17" in lines
    started = [line for line in lines if line.startswith("LOAD_STATE PS_NN_INST_ADDR")]
    assert len(started) == 1
    assert "# job 1: NN at 0x" in started[0]
    assert any("33 kernels of 3x3x33, 80.0%" in line and "runs of 4/4" in line for line in lines)


@given(WORDS)
def test_any_words_have_a_text_that_reads_back(words):
    stream = np.array(words, "<u4")
    lines = [line for _, line in stream_lines(stream)]
    assert parse_stream(lines).tolist() == words


@given(st.sampled_from([NN, TP]), st.data())
def test_any_instruction_has_a_text_that_reads_back(layout, data):
    words = data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=layout.size, max_size=layout.size))
    raw = np.array(words, "<u4")
    assert parse_instruction(instruction_lines(raw, layout), layout).tolist() == words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("STREAM\nJUMP 1", "line 1: no command: 'JUMP 1'"),
        ("STREAM\nLOAD_STATE PA_SYSTEM_MODE VALUE=x", "line 1: 'x' is not a number"),
        ("STREAM\nWORD -1", "negative"),
        ("\nNOP 1", "line 2: 'NOP 1' belongs to no section"),
        ("NN 0x40\nWORD99 A=1", "line 1: an NN instruction has no 'WORD99'"),
        ("NN 0x40\nWORD0 KERNEL_X=16", "does not fit 4 bits"),
        ("NN 0x40\nWORD0 KERNEL_X", "expected FIELD=VALUE"),
        ("DATA 0x40\nBYTES 0g", "line 1: no bytes"),
        ("STREAM 1", "line 1: not the head of a section"),
        ("STREAM\nWORD 0x100000000", "does not fit 32 bits"),
    ],
)
def test_what_cannot_be_read_is_said(text, said):
    with pytest.raises((CommandError, RegisterFieldError), match=said.replace("(", r"\(")):
        assemble(text)


def test_the_verb_and_its_way_back(tmp_path, capsys):
    path = recorded.PACKAGED / "imx8mp" / "c5x5_valid_u8_12x12x8_16.zip"
    text, binary = tmp_path / "text", tmp_path / "back.zip"
    assert run(["disassemble", "--full", str(path), "-o", str(text)]) == 0
    assert run(["disassemble", "--assemble", str(text), "-o", str(binary)]) == 0
    assert binary.read_bytes() == to_archive(sections(load(path), full=True))
    with zipfile.ZipFile(io.BytesIO(binary.read_bytes())) as archive:
        assert archive.read("submit1/stream.bin") == load(path).submissions[1].stream.tobytes()
    assert run(["disassemble", "--json", str(path)]) == 0
    assert '"KERNEL_X": 5' in capsys.readouterr().out


def test_a_stream_in_a_file_by_itself(tmp_path, capsys):
    stream = load(recorded.PACKAGED / "imx8mp" / "c5x5_valid_u8_12x12x8_16.zip").submissions[1].stream
    raw, text, back = tmp_path / "stream.bin", tmp_path / "text", tmp_path / "back.zip"
    raw.write_bytes(stream.tobytes())
    assert run(["disassemble", "--chip", "imx8mp", str(raw), "-o", str(text)]) == 0
    assert "LOAD_STATE GL_NN_CONFIG SMALL_BATCH=1" in text.read_text()
    assert run(["disassemble", "--assemble", str(text), "-o", str(back)]) == 0
    with zipfile.ZipFile(back) as archive:
        assert archive.read("submit0/stream.bin") == stream.tobytes()
    assert run(["disassemble", "--chip", "imx8mp", "--json", str(raw)]) == 0
    assert json.loads(capsys.readouterr().out)["stream"][0] == "NOP 8"
    raw.write_bytes(b"abc")
    assert run(["disassemble", "--chip", "a311d", str(raw)]) == 2
    assert "a multiple of 4 bytes long, this has 3" in capsys.readouterr().err


def test_a_stream_is_no_longer_than_the_driver_takes(tmp_path):
    path = recorded.single("a311d")[0]
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(contents["recording.json"])
    manifest["submits"][0]["stream"] = [0] * (32_768 + 1)
    contents["recording.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match="a stream of 32769 words, the kernel driver takes 32768"):
        load(tmp_path / "r.zip")


def test_jobs_that_name_one_buffer_of_coefficients_again_and_again_are_not_all_read(monkeypatch):
    recording = load(next(path for path in recorded.single("a311d") if path.name.startswith("c5x5")))
    submission = next(one for one in recording.submissions if jobs.jobs_of(one, recording.soc)[0])
    whole, problem = jobs.jobs_of(submission, recording.soc)
    assert problem == ""
    first = next(number for number, job in enumerate(whole) if job.kernels is not None)
    monkeypatch.setattr(jobs, "_MOST_WEIGHTS", whole[first].kernels.weights.size - 1)
    some, problem = jobs.jobs_of(submission, recording.soc)
    assert len(some) == first + 1 < len(whole)
    assert problem.startswith(f"behind job {first} nothing is read: the jobs have more than ")
