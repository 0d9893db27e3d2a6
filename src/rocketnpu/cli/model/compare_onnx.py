"""What ``rocketnpu compare`` does with an ONNX file: the simulated NPU beside ONNX Runtime in both its modes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rocketnpu.cli.model.comparing import cells, inputs_of, numbers, progress, verdict
from rocketnpu.cli.output import echo, print_json, print_table

if TYPE_CHECKING:
    from rocketnpu.onnx_host.compare import NodeComparison, OnnxComparison
    from rocketnpu.policy import Policy


def compare_file(
    path: Path, shapes: Mapping[str, tuple[int, ...]], image: Path | None, policy: Policy, *, as_json: bool
) -> int:
    """Compare an ONNX file and print what was found; return the exit status.

    Raises:
        ModelError: the file is damaged, or ONNX Runtime refuses it.
        UnsupportedError: a package is not installed.
        InputError: the picture cannot be read, or the model's input is none.
    """
    from rocketnpu.model import onnx
    from rocketnpu.onnx_host.compare import compare_onnx, steps
    from rocketnpu.partition.plan import plan

    model = onnx.load(path, shapes)
    with progress(steps(plan(model.graph, policy))) as tell:
        found = compare_onnx(model, inputs_of(model.graph, image), policy, tell)
    if as_json:
        print_json(_document(found))
    else:
        _print(found)
    return 0 if found.is_sound else 1


def _document(found: OnnxComparison) -> dict[str, Any]:
    return {
        "model": found.name,
        "sound": found.is_sound,
        "operators": [
            {
                "operators": list(node.row.operators),
                "kind": node.row.kind,
                "tensor": node.row.tensor,
                "shape": list(node.row.shape),
                "where": node.row.where,
                "from unfused": numbers(node.row.difference),
                "from fused": numbers(node.fused),
                "bound": None if node.row.bound is None else node.row.bound.steps,
                "sound": node.is_sound,
                "equals integer model": node.row.equals_model,
            }
            for node in found.nodes
        ],
        "outputs": [
            {
                "name": end.name,
                "from unfused": numbers(end.unfused),
                "from fused": numbers(end.fused),
                "ONNX Runtime from itself": numbers(end.itself),
            }
            for end in found.outputs
        ],
    }


def _print(found: OnnxComparison) -> None:
    columns = (
        "#",
        "operator",
        "output",
        "runs on",
        "max",
        "differ",
        "max fused",
        "differ fused",
        "bound",
        "integer model",
    )
    print_table(
        columns,
        [_line(node) for node in found.nodes],
        right=("#", "max", "differ", "max fused", "differ fused"),
        title=found.name,
    )
    for end in found.outputs:
        echo(f"end to end, output {end.name}, in steps of its quantised tensor:")
        rows = (
            ("the NPU from ONNX Runtime, unfused", end.unfused),
            ("the NPU from ONNX Runtime, fused", end.fused),
            ("ONNX Runtime, fused from unfused", end.itself),
        )
        for words, difference in rows:
            maximum, share, cosine = cells(difference)
            echo(f"  {words}: max {maximum}, {share} of the values differ, cosine {cosine}")


def _line(node: NodeComparison) -> tuple[object, ...]:
    row = node.row
    bound = "" if row.bound is None else f"{row.bound.steps}{'' if node.is_sound else ' EXCEEDED'}"
    return (
        "+".join(map(str, row.operators)),
        row.kind,
        "x".join(map(str, row.shape)),
        row.where,
        *cells(row.difference)[:2],
        *cells(node.fused)[:2],
        bound,
        verdict(row),
    )
