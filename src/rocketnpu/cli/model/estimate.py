"""``rocketnpu estimate``: how long a model, a program or a recording takes on a chip that need not be there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rocketnpu.cli.output import chip_option, counted, echo, json_option, print_json, print_table

if TYPE_CHECKING:
    from rocketnpu.estimate.estimate import Conditions, Estimate

_HEAD = 8
"""Bytes of a file that tell what it is."""


@click.command()
@click.option(
    "-m",
    "--model",
    required=True,
    metavar="FILE|NAME",
    help="A model or a name of `rocketnpu models list`, a compiled program, or a recording.",
)
@click.option("--target", type=click.Choice(["mainline", "vendor"]), default="mainline", show_default=True)
@click.option("--clock", type=click.FloatRange(min=1, max=5000), metavar="MHZ", help="NPU clock, if not the driver's.")
@click.option("--cores", type=click.IntRange(1, 3), default=1, show_default=True, help="Cores busy at once.")
@click.option("--start", type=click.FloatRange(min=0, max=10_000), metavar="US", help="Start of a task, microseconds.")
@click.option("--allow-unproven/--proven-only", default=False, show_default=True, help="Use rules without proof.")
@chip_option
@json_option
@click.option("--trace", type=click.Path(path_type=Path), help="Write a trace for Perfetto and Chrome.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with pictures.")
def estimate(
    model: str,
    target: str,
    clock: float | None,
    cores: int,
    start: float | None,
    allow_unproven: bool,
    chip: str,
    as_json: bool,
    trace: Path | None,
    html: Path | None,
) -> None:
    """Estimate the time of one inference, operator by operator, and what would change it.

    Rates are fitted to times that others measured on boards; the range printed holds eight of ten of them.
    """
    from rocketnpu.errors import InputError
    from rocketnpu.estimate.estimate import Conditions
    from rocketnpu.estimate.page import page
    from rocketnpu.estimate.trace import trace as trace_of
    from rocketnpu.files.writing import check_apart, write_file

    conditions = Conditions("vendor" if target == "vendor" else "mainline", clock, cores, start)
    for output in (trace, html):
        if output is not None:
            check_apart(output, model, "the trace" if output is trace else "the page", InputError)
    found = _estimate(model, conditions, chip, allow_unproven)
    if trace:
        write_file(trace, json.dumps(trace_of(found)).encode(), "the trace", InputError)
    if html:
        write_file(html, page(found).encode("utf-8", "replace"), "the page", InputError)
    if as_json:
        print_json(_document(found))
        return
    _print(found)


def _estimate(model: str, conditions: Conditions, chip: str, allow_unproven: bool) -> Estimate:
    from rocketnpu.errors import ModelError
    from rocketnpu.estimate.sources import estimate_model, estimate_program, estimate_tasks
    from rocketnpu.files.reading import read_head
    from rocketnpu.model.files import read
    from rocketnpu.partition.rates import local_rates
    from rocketnpu.program import store
    from rocketnpu.zoo import resolve

    path = resolve(model)
    head = b"" if path.is_dir() else read_head(path, _HEAD, "model", ModelError)
    if head.startswith(store.MAGIC):
        return estimate_program(store.load(path), conditions)
    if head.startswith(b"PK"):
        from rocketnpu.inspect.recorded import room_of

        recording = room_of(path).timed(path)
        return estimate_tasks(recording.name, recording.chip, conditions, recording.tasks)
    return estimate_model(read(path), conditions, chip, allow_unproven, local_rates(chip))


def _document(found: Estimate) -> dict[str, Any]:
    low, high = found.range_us
    return {
        "name": found.name,
        "chip": found.chip,
        "board": found.board,
        "total_us": found.total_us,
        "range_us": [low, high],
        "range_from": found.spread.what,
        "npu_us": found.npu_us,
        "starts_us": found.starts_us,
        "host_us": found.host_us,
        "overlap_at_most_us": found.hidden_us,
        "operators": found.operators,
        "tasks": found.tasks,
        "cpu": found.cpu,
        "levers": found.levers,
    }


def _print(found: Estimate) -> None:
    columns = ("#", "operator", "tasks", "us", "share", "bound by", "read", "written")
    rows = [
        (
            "" if row.operator is None else row.operator,
            row.kind,
            row.tasks,
            f"{row.us:.1f}",
            f"{row.share:.1%}",
            row.bound_by,
            f"{row.read:,}",
            f"{row.written:,}",
        )
        for row in found.operators
    ]
    print_table(columns, rows, right=("#", "tasks", "us", "share", "read", "written"), title=found.name)
    board, (low, high) = found.board, found.range_us
    echo(
        f"\n{found.total_us / 1e3:.2f} ms estimated for {found.chip}, {board.driver} kernel, NPU at "
        f"{board.clock_mhz:g} MHz: {found.npu_us / 1e3:.2f} computing, {found.starts_us / 1e3:.2f} starting "
        f"{counted(len(found.tasks), 'task')}, {found.host_us / 1e3:.2f} on the host"
    )
    echo(f"eight of ten estimates are within {low / 1e3:.2f} to {high / 1e3:.2f} ms: {found.spread.what}")
    if board.cores > 1:
        rate = 1e6 * board.cores / found.total_us
        echo(f"{board.cores} cores with an inference each: {rate:.0f} inferences a second")
    echo(f"not in it: overlap of loads and computing, which could save up to {found.hidden_us / 1e3:.2f} ms")
    if found.cpu:
        kinds = sorted({one.kind for one in found.cpu})
        echo(f"not in it: {counted(len(found.cpu), 'operator')} on the CPU ({', '.join(kinds)})")
    if found.levers:
        echo("")
        levers = [
            (lever.name, f"{lever.total_us / 1e3:.2f}", f"{lever.gain_us / 1e3:+.2f}", lever.note)
            for lever in found.levers
        ]
        print_table(("what would change it", "total [ms]", "gain [ms]", ""), levers, right=("total [ms]", "gain [ms]"))
