"""``rocketnpu compare``: how far the NPU is from a model's own runtime, operator by operator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rocketnpu.cli.model.comparing import cells, inputs_of, numbers, progress, verdict
from rocketnpu.cli.output import (
    Shapes,
    chip_option,
    echo,
    json_option,
    model_option,
    print_json,
    print_table,
    shapes_option,
    target_option,
)

if TYPE_CHECKING:
    from rocketnpu.inspect.compare import ModelComparison
    from rocketnpu.inspect.kernels import Kernels
    from rocketnpu.policy import Target


@click.command()
@model_option
@shapes_option
@click.option("-i", "--image", type=click.Path(path_type=Path), help="Picture to compare with; noise if not given.")
@click.option(
    "--allow-unproven/--proven-only",
    default=None,
    help="Use rules without proof; by default only where no board's programs are asked for.",
)
@chip_option
@target_option
@json_option
def compare(
    model: str,
    shapes: Shapes,
    image: Path | None,
    allow_unproven: bool | None,
    chip: str,
    target: Target,
    as_json: bool,
) -> int:
    """Compare the simulated NPU with a model's own runtime, layer by layer and end to end.

    That is LiteRT's reference kernels for TFLite files, and ONNX Runtime, in both its modes, for ONNX files. Every
    operator gets the reference's own inputs. Exit status 1 if one is further off than is stated for its kind, or
    differs from the integer model of the chip.
    """
    from rocketnpu.errors import ModelError, UnsupportedError
    from rocketnpu.files.limits import MODEL_BYTES
    from rocketnpu.files.reading import read_file
    from rocketnpu.inspect.board import board_remark
    from rocketnpu.inspect.compare import compare_model, steps
    from rocketnpu.inspect.kernels import Kernels
    from rocketnpu.inspect.reference import run_model
    from rocketnpu.model import tflite
    from rocketnpu.model.files import is_onnx, placeholders, with_shapes
    from rocketnpu.partition.plan import plan
    from rocketnpu.policy import Policy
    from rocketnpu.zoo import resolve

    path = resolve(model)
    allowed = target == "simulator" if allow_unproven is None else allow_unproven
    policy = Policy(target, allowed, chip=chip)
    if is_onnx(path):
        from rocketnpu.cli.model.compare_onnx import compare_file

        return compare_file(path, dict(shapes), image, policy, as_json=as_json)
    data = read_file(path, MODEL_BYTES, "model", ModelError)
    graph = with_shapes(tflite.parse(data, path.name), dict(shapes))
    divided, kernels, inputs = plan(graph, policy), Kernels(data), inputs_of(graph, image)
    try:
        tensors = run_model(data, graph, inputs)
    except UnsupportedError:  # one of its operators has no reference kernel
        tensors = kernels.run_all(graph, inputs)
    with progress(steps(divided)) as tell:
        found = compare_model(divided, tensors, tell, kernels)
    remarks = [text for text in (placeholders(graph), _substituted(kernels), board_remark(graph, policy)) if text]
    found = replace(found, remark="; ".join([*remarks, *([found.remark] if found.remark else [])]))
    if as_json:
        print_json(_document(found))
    else:
        _print(found)
    return 0 if found.is_sound else 1


def _substituted(kernels: Kernels) -> str:
    """Say which operators LiteRT's default kernels ran."""
    found = ", ".join(f"{index} ({kind})" for index, kind in sorted(kernels.substituted.items()))
    if not found:
        return ""
    return f"LiteRT has no reference kernel of these versions, its default kernels stand for them: {found}"


def _document(found: ModelComparison) -> dict[str, Any]:
    first = found.first_noticeable
    return {
        "model": found.name,
        "sound": found.is_sound,
        "first operator beyond 1": None if first is None else list(first.operators),
        "operators": [
            {
                "operators": list(row.operators),
                "kind": row.kind,
                "tensor": row.tensor,
                "shape": list(row.shape),
                "where": row.where,
                "difference": numbers(row.difference),
                "bound": None if row.bound is None else row.bound.steps,
                "bound reason": None if row.bound is None else row.bound.reason,
                "exceeds": row.exceeds,
                "equals integer model": row.equals_model,
                "remark": row.remark,
            }
            for row in found.operators
        ],
        "outputs": [
            {"tensor": output.tensor, "name": output.name, "difference": numbers(output.difference)}
            for output in found.outputs
        ],
        "remark": found.remark,
    }


def _print(found: ModelComparison) -> None:
    columns = ("#", "operator", "output", "runs on", "max", "differ", "cosine", "bound", "integer model")
    rows = [
        (
            "+".join(map(str, row.operators)),
            row.kind,
            "x".join(map(str, row.shape)),
            row.where,
            *(cells(row.difference)),
            "" if row.bound is None else f"{row.bound.steps}{' EXCEEDED' if row.exceeds else ''}",
            verdict(row),
        )
        for row in found.operators
    ]
    print_table(columns, rows, right=("#", "max", "differ"), title=found.name)
    for row in found.operators:
        if row.remark:
            echo(f"{'+'.join(map(str, row.operators))}: {row.remark}")
    first = found.first_noticeable
    place = "none" if first is None else f"{'+'.join(map(str, first.operators))} ({first.kind})"
    echo(f"first operator that differs by more than 1: {place}")
    for output in found.outputs:
        maximum, share, cosine = cells(output.difference)
        echo(f"end to end, output {output.name}: max {maximum}, {share} of the values differ, cosine {cosine}")
    if found.remark:
        echo(found.remark)
