"""The second family in the registry: what it says of itself, and what it does not pretend to do."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import vsi_recordings as recorded

from rocketnpu.cli.main import run
from rocketnpu.device.doctor import examine
from rocketnpu.device.machine import Machine
from rocketnpu.evidence import Evidence
from rocketnpu.family import chips, family_of
from rocketnpu.inspect.evidence_page import evidence_page
from rocketnpu.model import tflite
from rocketnpu.policy import Policy
from rocketnpu.verisilicon.evidence import TABLE

MODEL = recorded.PACKAGED / "models" / "c5x5_valid_u8_12x12x8_16.tflite"


def functions(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("rule", TABLE.rules.values(), ids=list(TABLE.rules))
def test_every_rule_is_pinned_by_a_test_that_exists(rule):
    path, _, name = rule.test.partition("::")
    assert name in functions(recorded.CHECKOUT / path)
    assert rule.statement.endswith(".")
    assert rule.source


def test_nothing_is_said_to_be_recorded_on_silicon():
    kinds = {rule.evidence for rule in TABLE.rules.values()}
    assert kinds == {Evidence.DRIVER, Evidence.ASSUMED}
    assumed = {rule.name for rule in TABLE.rules.values() if rule.evidence is Evidence.ASSUMED}
    assert {"rounding", "accumulator", "caches"} <= assumed


def test_the_page_is_up_to_date():
    page = recorded.CHECKOUT / "docs" / "hardware" / "verisilicon.md"
    assert page.read_text() == evidence_page(TABLE), "print it anew: rocketnpu evidence --chip a311d --page evidence"
    assert "No byte that these chips wrote is public" in page.read_text()


@pytest.mark.parametrize("chip", recorded.CHIPS)
def test_a_model_goes_all_the_way(chip, capsys):
    assert chip in chips()
    family = family_of(chip)
    graph = tflite.load(MODEL)
    policy = Policy(chip=chip)
    program = family.compile(graph, policy)
    assert program.chip == chip
    assert [task.kind for task in program.tasks] == [1]
    assert family.work(graph, policy).operators[0].weight_bytes > 0
    assert family.explain(graph, 0, policy) == ["CONV_2D 5x5, 8 to 16 channels"]
    assert run(["inspect", "-m", str(MODEL), "--chip", chip, "--json"]) == 0
    (operator,) = json.loads(capsys.readouterr().out)["operators"]
    assert operator["where"] == "npu 0"
    assert run(["compare", "-m", str(MODEL), "--chip", chip, "--json"]) == 0
    (operator,) = json.loads(capsys.readouterr().out)["operators"]
    assert operator["equals integer model"]
    assert operator["difference"]["maximum"] <= operator["bound"] == 1


@pytest.mark.parametrize(("module", "found"), [("etnaviv 1 0", "etnaviv is there"), ("", "no etnaviv")])
def test_the_doctor_knows_the_board(tmp_path, module, found):
    tree = tmp_path / "proc" / "device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"khadas,vim3\0amlogic,a311d\0amlogic,g12b\0")
    (tree / "model").write_bytes(b"Khadas VIM3\0")
    (tmp_path / "proc" / "modules").write_text(f"{module}\n" if module else "")
    facts = {fact.name: fact for fact in examine(Machine(tmp_path, "6.17.0"))}
    assert facts["SoC"].found == "Amlogic A311D, Khadas VIM3"
    assert facts["module"].found == found
    assert "modprobe etnaviv" in facts["node"].advice
