"""The register map against the map that was taken from the kernel's header and the manual."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rocketnpu.errors import CommandError
from rocketnpu.rockchip.registers import rk3588
from rocketnpu.rockchip.registers.rk3588 import BLOCKS, BY_NAME, BY_TARGET, register


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "hardware" / "registers.json").read_text())


def test_blocks_agree(published: dict[str, Any]) -> None:
    expected = {b["name"]: (b["base"], b["target"], b["op_enable_bit"]) for b in published["blocks"]}
    assert {unit.name: (unit.base, unit.target, unit.enable_bit) for unit in BLOCKS} == expected


def test_every_register_is_there_and_no_other(published: dict[str, Any]) -> None:
    expected = {(r["block"], r["name"], r["offset"]) for r in published["registers"]}
    assert len(expected) == published["meta"]["register_count"]
    assert {(unit.name, r.name, r.offset) for unit in BLOCKS for r in unit.registers.values()} == expected


THREE_CORES = {"REGISTER_AMOUNTS": ("CORE_SET", 31, 16), "CONV_CON2": ("CORE_SET", 31, 28)}
"""Fields of the vendor's three-core mode, which the published map calls reserved (outside 5)."""


def test_every_field_has_its_bits(published: dict[str, Any]) -> None:
    for row in published["registers"]:
        found = BY_NAME[row["block"]].by_offset[row["offset"]]
        expected = {f["name"]: (f["high"], f["low"]) for f in row["fields"] if "RESERVED" not in f["name"].upper()}
        more = THREE_CORES.get(row["name"]) or (("CORE", 29, 28) if row["name"].endswith("S_POINTER") else None)
        if more is not None:
            expected[more[0]] = more[1:]
        bits = {name: (field.high, field.low) for name, field in found.fields.items()}
        assert bits == expected, f"{row['block']}.{row['name']}"


def test_special_words_agree(published: dict[str, Any]) -> None:
    targets = {word["name"]: (word["target"], word["reg"]) for word in published["special_words"]}
    assert targets["OP_ENABLE_BROADCAST"] == (rk3588.TARGET_ENABLE, rk3588.ENABLE_REGISTER)
    assert targets["MARKER"][0] == rk3588.TARGET_MARKER
    assert targets["NOP"][0] == rk3588.TARGET_NOP


def test_registers_lie_in_their_block_on_whole_words() -> None:
    for unit in BLOCKS:
        assert len(unit.registers) == len(unit.by_offset)
        for found in unit.registers.values():
            assert found.offset % 4 == 0
            assert found.offset >> 12 == unit.base >> 12, f"{unit.name}.{found.name}"


def test_targets_are_distinct() -> None:
    named = [unit.target for unit in BLOCKS if unit.target is not None]
    assert len(set(named)) == len(named) == len(BY_TARGET)


def test_look_up_by_path() -> None:
    assert register("CNA.CONV_CON3").offset == 0x1014
    with pytest.raises(CommandError, match="no unit 'NPU'"):
        register("NPU.CONV_CON3")
    with pytest.raises(CommandError, match="CNA has no register 'NONE'"):
        register("CNA.NONE")
