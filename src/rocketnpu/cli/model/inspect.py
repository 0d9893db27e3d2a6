"""``rocketnpu inspect``: the operators of a model, where each runs and why, and what it costs."""

from __future__ import annotations

from pathlib import Path

import click

from rocketnpu.cli.output import (
    Shapes,
    chip_option,
    counted,
    echo,
    json_option,
    model_option,
    print_json,
    print_report,
    print_table,
    shapes_option,
)


@click.command()
@model_option
@shapes_option
@json_option
@chip_option
@click.option(
    "--target", type=click.Choice(["simulator", "mainline", "vendor"]), default="simulator", show_default=True
)
@click.option("--allow-unproven/--proven-only", default=True, show_default=True, help="Use rules without proof.")
def inspect(model: str, shapes: Shapes, as_json: bool, chip: str, target: str, allow_unproven: bool) -> None:
    """Print operators, where each runs and why, tasks, CBUF banks, bytes and multiply-accumulates.

    Of a recording (-m RECORDING.zip) print its jobs, with kernels, tiles and caches where the chip has them.
    """
    if _inspect_recording(Path(model), as_json):
        return
    from rocketnpu.inspect.summary import summarise
    from rocketnpu.model.files import read
    from rocketnpu.partition.plan import plan
    from rocketnpu.policy import Policy, Target
    from rocketnpu.zoo import resolve

    chosen: dict[str, Target] = {"simulator": "simulator", "mainline": "mainline", "vendor": "vendor"}
    graph = read(resolve(model), dict(shapes))
    summary = summarise(plan(graph, Policy(chosen[target], allow_unproven, chip=chip)))
    if as_json:
        print_json(summary)
        return
    columns = ("#", "operator", "output", "runs on", "tasks", "banks", "weights", "features", "MACs", "why not the NPU")
    rows = [
        (
            row.operator,
            row.kind,
            "x".join(map(str, row.output_shape)),
            row.where,
            row.tasks or "",
            row.banks,
            row.weight_bytes or "",
            row.feature_bytes or "",
            f"{row.macs:,}" if row.macs else "",
            row.reason,
        )
        for row in summary.operators
    ]
    print_table(columns, rows, right=("#", "tasks", "weights", "features", "MACs"), title=summary.name)
    on_npu = sum(row.where != "cpu" for row in summary.operators)
    echo(
        f"{on_npu} of {counted(len(rows), 'operator')} on the NPU in {counted(summary.parts, 'part')}, "
        f"{summary.coverage:.2%} of {counted(sum(row.macs for row in summary.operators), 'multiply-accumulate')}"
    )
    proven = plan(graph, Policy(chosen[target], allow_unproven=False, chip=chip))
    on_npu = sum(decision.supported for decision in proven.decisions)
    echo(
        f"with proven hardware rules only: {counted(on_npu, 'operator')} in {counted(len(proven.parts), 'part')}, "
        f"{proven.coverage:.2%}"
    )
    if summary.rules:
        echo(f"hardware rules without proof on this chip: {', '.join(summary.rules)}")


def _inspect_recording(path: Path, as_json: bool) -> bool:
    """Print what a recording holds; return whether the file is one."""
    from rocketnpu.inspect.recorded import is_recording, room_of

    if not (path.is_dir() or path.suffix == ".zip") or not is_recording(path):
        return False
    report = room_of(path).inspect(path)
    if as_json:
        print_json(report.document)
    else:
        print_report(report)
    return True
