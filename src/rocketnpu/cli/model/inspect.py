"""``rocketnpu inspect``: the operators of a model, where each runs and why, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

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
    target_option,
)

if TYPE_CHECKING:
    from rocketnpu.graph import Graph
    from rocketnpu.inspect.summary import ModelSummary
    from rocketnpu.partition.plan import Plan
    from rocketnpu.policy import Policy


@click.command()
@model_option
@shapes_option
@json_option
@chip_option
@target_option
@click.option("--allow-unproven/--proven-only", default=True, show_default=True, help="Use rules without proof.")
@click.option("--risks", is_flag=True, help="List what the programs do that no chip has been seen to do.")
@click.option("--why", type=int, metavar="N", help="Say all about operator N.")
@click.option("--overlay", type=click.Path(path_type=Path), help="Write where each runs, for Model Explorer.")
def inspect(
    model: str,
    shapes: Shapes,
    as_json: bool,
    chip: str,
    target: str,
    allow_unproven: bool,
    risks: bool,
    why: int | None,
    overlay: Path | None,
) -> None:
    """Print operators, where each runs and why, tasks, bytes of weights and multiply-accumulates.

    Of a recording (-m RECORDING.zip) print its jobs, with kernels, tiles and caches where the chip has them.
    """
    if _inspect_recording(Path(model), as_json):
        return
    from rocketnpu.device.discover import local_standing
    from rocketnpu.device.standing import UNASKED
    from rocketnpu.errors import InputError
    from rocketnpu.explorer.overlay import write_overlay
    from rocketnpu.family import family_of
    from rocketnpu.files.writing import check_apart
    from rocketnpu.inspect.summary import summarise
    from rocketnpu.model.files import placeholders, read_all
    from rocketnpu.model.numerics import remark
    from rocketnpu.partition.plan import plan
    from rocketnpu.partition.rates import PUBLISHED, local_rates
    from rocketnpu.policy import Policy, Target
    from rocketnpu.zoo import resolve

    chosen: dict[str, Target] = {"simulator": "simulator", "mainline": "mainline", "vendor": "vendor"}
    graphs = read_all(resolve(model), dict(shapes))
    weighs = target != "simulator"
    rates = local_rates(chip) if weighs else PUBLISHED
    here = local_standing(family_of(chip), chosen[target]) if weighs else UNASKED
    policies = [
        Policy(
            chosen[target],
            allowed,
            chip=chip,
            weighs=weighs,
            rates=rates,
            proven=frozenset(here.proven),
            refuted=frozenset(here.refuted),
        )
        for allowed in (allow_unproven, False)
    ]
    if risks:
        _print_risks([plan(graph, policies[0]) for graph in graphs], as_json)
        return
    if why is not None:
        _print_operator(graphs[0], why, policies)
        return
    remarks = [text for text in (remark(graphs[0]), placeholders(graphs[0])) if text]
    plans = [plan(graph, policies[0]) for graph in graphs]
    if overlay is not None:
        check_apart(overlay, model, "overlay", InputError)
        write_overlay(plans[0], overlay)
    summaries = [summarise(found) for found in plans]
    if as_json:
        print_json(
            {**asdict(summaries[0]), "remarks": remarks, "subgraphs": [asdict(found) for found in summaries[1:]]}
        )
        return
    for text in remarks:
        echo(f"{graphs[0].name}: {text}")
    for found, summary in zip(plans, summaries, strict=True):
        _print(summary, plan(found.graph, policies[1]))
        for rule in summary.rules:
            if rule in here.proven:
                echo(f"{rule}: {here.proven[rule]}")
        _print_prices(found)


def _print_risks(plans: Sequence[Plan], as_json: bool) -> None:
    """Print each risk with its operators and values, or say that there is none."""
    from rocketnpu.compiler import compile_graph
    from rocketnpu.family import family_of

    found: dict[str, dict[tuple[int, str], int]] = {}
    family, tasks = family_of(plans[0].policy.chip), 0
    for divided in plans:
        for part in divided.parts:
            program = compile_graph(part, divided.policy)
            tasks += len(program.tasks)
            for name, operator, value in family.program_risks(program):
                values = found.setdefault(name, {})
                values[operator, value] = values.get((operator, value), 0) + 1
    about = {risk.name: risk for risk in family.risks}
    rows = [
        (name, operator, count, value, about[name].source)
        for name in about
        for (operator, value), count in found.get(name, {}).items()
    ]
    columns = ("risk", "operator", "tasks", "value", "source")
    if as_json:
        print_json({"tasks": tasks, "risks": [dict(zip(columns, row, strict=True)) for row in rows]})
        return
    print_table(columns, rows, right=("operator", "tasks"))
    for name in found:
        echo(f"{name}: {about[name].statement}")
    echo(f"{counted(len(found), 'risk')} in {counted(tasks, 'task')}; they refuse nothing (docs/hardware/evidence.md)")


def _print(summary: ModelSummary, proven: Plan) -> None:
    """Print a subgraph: a row for each operator with the value that failed, then each rule once."""
    columns = ("#", "operator", "output", "runs on", "tasks", "us", "weights", "MACs", "found")
    rows = [
        (
            row.operator,
            row.kind,
            "x".join(map(str, row.output_shape)),
            row.where,
            row.tasks or "",
            f"{row.us:.0f}" if row.us else "",
            row.weight_bytes or "",
            f"{row.macs:,}" if row.macs else "",
            _value(row.reason),
        )
        for row in summary.operators
    ]
    print_table(columns, rows, right=("#", "tasks", "us", "weights", "MACs"), title=summary.name)
    for rule, numbers in _by_rule(summary).items():
        echo(f"{_listed(numbers)}: {rule}")
    on_npu = sum(row.where != "cpu" for row in summary.operators)
    echo(
        f"{on_npu} of {counted(len(rows), 'operator')} on the NPU in {counted(summary.parts, 'part')}, "
        f"{summary.coverage:.2%} of {counted(sum(row.macs for row in summary.operators), 'multiply-accumulate')}"
    )
    on_npu = sum(decision.supported for decision in proven.decisions)
    echo(
        f"with proven hardware rules only: {counted(on_npu, 'operator')} in {counted(len(proven.parts), 'part')}, "
        f"{proven.coverage:.2%}"
    )
    if summary.rules:
        echo(f"hardware rules without proof on this chip: {', '.join(summary.rules)}")


def _print_prices(divided: Plan) -> None:
    """Say what each part was estimated to save, and on what that rests."""
    for number, cost in enumerate(divided.prices):
        if cost is not None:
            echo(f"part {number}: {cost}")
    if divided.policy.weighs:
        echo(str(divided.policy.rates))


_FOUND = " Found: "
_WIDEST = 40
"""Characters of a value that a row shows; ``--why`` shows all."""
_MOST = 12
"""Operators named beside a rule."""


def _value(reason: str) -> str:
    """Return the value found of a reason; a reason that is no published rule has none, it stands below the table."""
    if _FOUND not in reason:
        return "see below" if reason else ""
    found = reason.split(_FOUND, 1)[1]
    return found if len(found) <= _WIDEST else f"{found[: _WIDEST - 1]}…"


def _by_rule(summary: ModelSummary) -> dict[str, list[int]]:
    """Gather the operators that failed each rule."""
    found: dict[str, list[int]] = {}
    for row in summary.operators:
        if row.reason:
            found.setdefault(row.reason.split(_FOUND, 1)[0], []).append(row.operator)
    return found


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_MOST]))
    return f"{shown} and {len(numbers) - _MOST} more" if len(numbers) > _MOST else shown


def _print_operator(graph: Graph, number: int, policies: Sequence[Policy]) -> None:
    """Say all about one operator: its tensors, attributes, and what each policy makes of it.

    Raises:
        InputError: there is no such operator.
    """
    from rocketnpu.compiler import compiled_graph
    from rocketnpu.errors import InputError
    from rocketnpu.family import family_of
    from rocketnpu.partition.plan import plan

    operator = next((one for one in graph.operators if one.index == number), None)
    if operator is None:
        raise InputError(f"{graph.name} has no operator {number}; there are {len(graph.operators)}")
    echo(f"operator {number}: {operator.kind} {operator.attributes}")
    for title, tensors in (("input", operator.inputs), ("output", operator.outputs)):
        for tensor in tensors:
            echo(
                f"{title}: {'absent' if tensor is None else f'{graph.tensors[tensor]} ({graph.tensors[tensor].name})'}"
            )
    if number in graph.problems:
        echo(f"it cannot be verified: {graph.problems[number]}")
    for policy in dict.fromkeys(policies):
        divided = plan(graph, policy)
        decision = next(found for found in divided.decisions if found.operator == number)
        rules = "all rules" if policy.allow_unproven else "proven rules only"
        echo(f"{rules}, {policy.target}: {'NPU' if decision.supported else f'CPU: {decision.reason}'}")
        for part in divided.parts:
            if any(one.index == number for one in part.operators):
                for line in family_of(policy.chip).explain(compiled_graph(part), number, policy):
                    echo(f"  {line}")


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
