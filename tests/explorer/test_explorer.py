"""Programs and plans for Model Explorer: nodes and edges, and the real package where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rocketnpu.cli.main import run
from rocketnpu.compiler import compile_graph
from rocketnpu.errors import ProgramError
from rocketnpu.explorer.nodes import INPUTS, OUTPUTS, nodes_of
from rocketnpu.explorer.overlay import overlay
from rocketnpu.graph import DType
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.program import store
from rocketnpu.program.program import Program
from strategies import case

DATA = Path(__file__).parents[1] / "data" / "golden"
MODEL = DATA / "conv3x3_u8_same_16x16x16_32.tflite"


@pytest.fixture(scope="module")
def program() -> Program:
    """Several operators, several tasks."""
    (part,) = plan(case("depthwise", 3).graph).parts
    return compile_graph(part)


def test_nodes_are_inputs_tasks_and_outputs_in_the_order_of_work(program: Program) -> None:
    nodes = nodes_of(program)
    tasks = [node for node in nodes if node.group not in (INPUTS, OUTPUTS)]
    assert len({node.id for node in nodes}) == len(nodes)
    assert [node.label for node in tasks] == [task.label for task in program.tasks]
    assert [node.label for node in nodes if node.group == INPUTS] == [one.name for one in program.inputs]
    assert [node.label for node in nodes if node.group == OUTPUTS] == [one.name for one in program.outputs]
    seen: set[str] = set()
    for node in nodes:
        assert set(node.before) <= seen, "every edge comes from what ended before"
        assert bool(node.before) == (node.group != INPUTS)
        seen.add(node.id)


def test_a_task_says_its_registers_and_its_time(program: Program) -> None:
    first = next(node for node in nodes_of(program) if node.group not in (INPUTS, OUTPUTS))
    assert first.facts["multiply-accumulates"] == f"{program.tasks[0].macs:,}"
    assert "WEIGHT_KERNELS=" in first.facts["CNA.WEIGHT_SIZE2"]
    assert float(first.facts["estimated microseconds"]) > 0
    assert first.group == ("job 0/" if len(program.jobs) > 1 else "") + "operator 0 DEPTHWISE_CONV_2D"


def half_supported() -> bytes:
    """A convolution, and behind it an operator that nobody has."""
    builder = ModelBuilder()
    x, weights, bias, y, z = (
        builder.tensor((1, 8, 8, 16), DType.UINT8, scale=0.02, zero_point=128, name="x"),
        builder.tensor((16, 1, 1, 16), DType.UINT8, scale=0.02, zero_point=128, data=np.full((16, 1, 1, 16), 129)),
        builder.tensor((16,), DType.INT32, scale=0.0004, data=np.zeros(16, np.int32)),
        builder.tensor((1, 8, 8, 16), DType.UINT8, scale=0.02, zero_point=128, name="y"),
        builder.tensor((1, 8, 8, 16), DType.UINT8, scale=0.02, zero_point=128, name="z"),
    )
    builder.operator("CONV_2D", [x, weights, bias], [y], ops.Conv2D((1, 1), ops.Padding.SAME))
    builder.operator("CUSTOM:Something", [y], [z])
    return builder.build([x], [z])


def test_an_overlay_has_every_operator_by_its_outputs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(half_supported())
    divided = plan(tflite.load(path), Policy())
    found: Any = overlay(divided)
    (results,) = (one["results"] for one in found.values())
    outputs = {divided.graph.tensors[n].name for operator in divided.graph.operators for n in operator.outputs}
    assert set(results) == outputs
    assert {one["value"] for one in results.values()} == {"CPU", "NPU part 0"}
    for decision, operator in zip(divided.decisions, divided.graph.operators, strict=True):
        value = results[divided.graph.tensors[operator.outputs[0]].name]["value"]
        assert value.startswith("NPU") == decision.supported
    assert run(["inspect", "-m", str(path), "--overlay", str(tmp_path / "o.json")]) == 0
    assert json.loads((tmp_path / "o.json").read_text()) == found
    capsys.readouterr()


def manager() -> Any:
    pytest.importorskip("model_explorer", reason="Model Explorer is not installed (pip install rocketnpu[explorer])")
    from model_explorer.extension_manager import ExtensionManager

    found = ExtensionManager(["rocketnpu.explorer"])
    found.load_extensions()
    return found


def convert(explorer: Any, adapter: str, path: Path) -> Any:
    command = {"extensionId": adapter, "cmdId": "convert", "modelPath": str(path), "settings": {}}
    return explorer.run_cmd({**command, "deleteAfterConversion": False})


def test_model_explorer_reads_a_program(program: Program, tmp_path: Path) -> None:
    explorer = manager()
    store.save(program, tmp_path / "m.rktprog")
    found = convert(explorer, "rocketnpu_program", tmp_path / "m.rktprog")
    (graph,) = found["graphs"]
    nodes = nodes_of(program)
    assert [node["id"] for node in graph["nodes"]] == [node.id for node in nodes]
    assert [edge["sourceNodeId"] for edge in graph["nodes"][-1]["incomingEdges"]] == list(nodes[-1].before)
    assert {one["key"]: one["value"] for one in graph["nodes"][1]["attrs"]} == nodes[1].facts
    (tmp_path / "m.rktprog").write_bytes(b"RKTPROG")
    with pytest.raises(ProgramError, match="not a program of this project"):
        convert(explorer, "rocketnpu_program", tmp_path / "m.rktprog")


def test_model_explorers_own_reader_knows_the_names_of_an_overlay() -> None:
    found = convert(manager(), "builtin_tflite_flatbuffer", MODEL)
    (graph,) = found["graphCollections"][0]["graphs"]
    names = {
        attribute["value"]
        for node in graph["nodes"]
        for output in node["outputsMetadata"]
        for attribute in output["attrs"]
        if attribute["key"] == "tensor_name"
    }
    data: Any = overlay(plan(tflite.load(MODEL), Policy()))
    assert list(data) == [graph["id"]]
    assert set(data[graph["id"]]["results"]) <= names
