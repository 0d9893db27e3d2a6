"""Disassembly: every word named, odd ones marked, and the text assembles to the same words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspect_models import chain_program
from rocketnpu.cli import main
from rocketnpu.errors import CommandError, ProgramError
from rocketnpu.files.limits import COMMAND_WORDS
from rocketnpu.program import store
from rocketnpu.rockchip.registers.command import MARKER, NOP, enable, pack, write
from rocketnpu.rockchip.registers.rk3588 import BY_TARGET, register
from rocketnpu.rockchip.streams.disassembly import (
    Disassembly,
    Listing,
    assemble,
    describe,
    disassemble,
    from_program,
    to_document,
    to_text,
)
from rocketnpu.rockchip.streams.word_checks import FIELDS

PACKAGED = Path(__file__).resolve().parents[2] / "data" / "golden"
NAMES = sorted(path.stem for path in PACKAGED.glob("*.zip"))


def one_list(words: list[int]) -> Disassembly:
    return Disassembly("x", "raw", (Listing("task 0", 0, np.array(words, "<u8")),))


known_words = st.builds(
    lambda place, value: pack(*place, value),
    st.sampled_from([(target, offset) for target, unit in sorted(BY_TARGET.items()) for offset in unit.by_offset]),
    st.integers(0, (1 << 32) - 1),
)


@given(st.lists(st.one_of(st.integers(0, (1 << 64) - 1), known_words), max_size=40))
def test_any_words_come_back_from_their_text(words: list[int]) -> None:
    found = one_list(words)
    assert assemble(to_text(found)).tolist() == words


@pytest.mark.parametrize("name", NAMES)
def test_recordings_come_back_and_nothing_in_them_is_unknown(name: str) -> None:
    found = disassemble(PACKAGED / f"{name}.zip")
    assert found.kind == "recording"
    np.testing.assert_array_equal(assemble(to_text(found)), found.words)
    assert [line.problems for listing in found.listings for line in listing.lines if line.problems] == []


def test_every_shared_recording_comes_back(shared: Path) -> None:
    for path in sorted((shared / "golden").glob("mesa*/*.zip")):
        found = disassemble(path)
        np.testing.assert_array_equal(assemble(to_text(found)), found.words, err_msg=path.stem)


def test_programs_name_operators_buffers_and_chains(tmp_path: Path) -> None:
    program = chain_program()
    store.save(program, tmp_path / "chain.rktprog")
    found = disassemble(tmp_path / "chain.rktprog")
    assert found.kind == "program"
    assert len(found.listings) == len(program.tasks)
    text = to_text(found)
    assert "# job 0 task 1: operator 1, DEPTHWISE_CONV_2D 3x3" in text
    assert "CNA.DCOMP_ADDR0  # + address of constants+0x0" in text
    assert "# chained: commands+0x440" in text
    words = np.concatenate(
        [
            np.frombuffer(program.buffers[program.commands].data, "<u8", task.words, task.offset)
            for task in program.tasks
        ]
    )
    np.testing.assert_array_equal(assemble(text), words)


def test_a_raw_buffer_is_cut_into_lists_and_padding(tmp_path: Path) -> None:
    stop = [MARKER, enable(["DPU", "DPU_RDMA"])]
    chained = [write("DPU.OFFSET_PEND"), write("PC.BASE_ADDRESS", PC_SOURCE_ADDR=4), NOP, *stop]
    last = [write("DPU.OFFSET_PEND", OFFSET_PEND=-3), NOP, NOP, *stop]
    words = np.array([*chained, NOP, NOP, NOP, *last, NOP], "<u8")
    (tmp_path / "raw.bin").write_bytes(words.tobytes())
    found = disassemble(tmp_path / "raw.bin")
    assert [(listing.title, listing.address, len(listing.words)) for listing in found.listings] == [
        ("task 0", 0, 5),
        ("", 40, 3),
        ("task 1", 64, 5),
        ("", 104, 1),
    ]
    text = to_text(found)
    assert "# chained: task 1 at 0x40" in text
    np.testing.assert_array_equal(assemble(text), words)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (pack(0x0999, 0x10, 3), "unknown target 0x0999"),
        (pack(0x0201, 0x1FF0, 3), "unknown register 0x1ff0 of CNA"),
        (pack(0x0201, 0x1014, 0x80000009), "reserved bits 0x80000000"),
        (write("CNA.CONV_CON3", CONV_X_STRIDE=0, CONV_Y_STRIDE=1), "out of range: CONV_X_STRIDE=0 (1..7)"),
        (write("CNA.CBUF_CON0", DATA_BANK=10, WEIGHT_BANK=3), "13 banks in all"),
        (write("CNA.CONV_CON1", CONV_MODE=7), "out of range: CONV_MODE=7"),
        (write("DPU.DST_BASE_ADDR", DST_BASE_ADDR=0x1008), "0x1008 is not a multiple of 16"),
        (write("DPU.BS_OW_CFG", SIZE_E_0=1, SIZE_E_1=1, SIZE_E_2=3), "the three SIZE_E differ"),
    ],
)
def test_odd_words_are_marked(word: int, text: str) -> None:
    assert any(text in problem for problem in describe(word).problems)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (pack(0x0101, 0x14, 0x000E0037), "PC.REGISTER_AMOUNTS CORE_SET=14 PC_DATA_AMOUNT=55"),
        (pack(0x0201, 0x1010, 0xE0000350), "CNA.CONV_CON2 CORE_SET=14 FEATURE_GRAINS=53"),
        (pack(0x0801, 0x3004, 0x2000000E), "CORE.S_POINTER CORE=2 POINTER_PP_MODE=1 EXECUTER_PP_EN=1 POINTER_PP_EN=1"),
    ],
)
def test_fields_of_the_vendors_three_core_mode(word: int, text: str) -> None:
    """They are no reserved bits (outside 5)."""
    line = describe(word)
    assert (line.text, line.problems) == (text, ())
    line = to_text(one_list([word])).splitlines()[-1]
    assert text in line
    assert assemble(line).tolist() == [word]


def test_every_range_names_a_field_that_exists() -> None:
    for path, allowed in FIELDS.items():
        name, _, field = path.rpartition(".")
        spec = register(name).fields[field]
        values = [value for value in range(1 << min(spec.width, 16)) if value in allowed.values]
        assert values, path
        assert len(values) < 1 << spec.width, f"{path}: its range excludes nothing"


def test_json_has_every_field() -> None:
    (listing,) = to_document(one_list([write("CNA.CONV_CON3", CONV_X_STRIDE=2, CONV_Y_STRIDE=2)]))["lists"]
    (word,) = listing["words"]
    assert (word["unit"], word["register"], word["problems"]) == ("CNA", "CONV_CON3", [])
    assert word["fields"]["CONV_X_STRIDE"] == 2
    assert word["fields"]["NN_MODE"] == 0


def test_a_program_that_names_its_words_again_and_again_is_not_printed() -> None:
    program = chain_program()
    job = program.jobs[0]
    many = replace(program, jobs=(replace(job, tasks=job.tasks * (COMMAND_WORDS // job.tasks[0].words + 1)),))
    with pytest.raises(CommandError, match="words, more than the 2,097,152 that are printed"):
        from_program(many)


def test_programs_in_memory_need_no_file() -> None:
    assert from_program(chain_program()).source == "model"


def test_the_verb_writes_text_and_reads_it_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = PACKAGED / "conv_conv_add_u8.zip"
    assert main.run(["disassemble", str(source), "-o", str(tmp_path / "a.txt")]) == 0
    assert main.run(["disassemble", "--assemble", str(tmp_path / "a.txt"), "-o", str(tmp_path / "a.bin")]) == 0
    np.testing.assert_array_equal(np.fromfile(tmp_path / "a.bin", "<u8"), disassemble(source).words)
    assert main.run(["disassemble", str(source), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["lists"]) == 2
    assert main.run(["disassemble", "--assemble", str(tmp_path / "a.txt")]) == 2


def test_broken_files_are_errors_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd").write_bytes(b"12345")
    with pytest.raises(CommandError, match="multiple of 8 bytes long, this has 5"):
        disassemble(tmp_path / "odd")
    (tmp_path / "cut.rktprog").write_bytes(store.to_bytes(chain_program())[:-9])
    with pytest.raises(ProgramError):
        disassemble(tmp_path / "cut.rktprog")
    (tmp_path / "bad.txt").write_text("CNA.CONV_CON3 CONV_X_STRIDE=9\n")
    assert main.run(["disassemble", "--assemble", str(tmp_path / "bad.txt"), "-o", str(tmp_path / "x")]) == 2
    assert "CONV_X_STRIDE: value 9 does not fit" in capsys.readouterr().err
    assert main.run(["disassemble", str(tmp_path / "none")]) == 2
