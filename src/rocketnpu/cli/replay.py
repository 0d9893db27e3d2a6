"""``rocketnpu replay``: recordings and failure bundles on the simulator."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rocketnpu.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from rocketnpu.rockchip.streams.recording import Recording
    from rocketnpu.rockchip.streams.replay import TaskOutcome
    from rocketnpu.rockchip.streams.replay_reference import OperationOutcome
    from rocketnpu.rockchip.streams.streams import StreamComparison


@dataclass(frozen=True)
class _Found:
    """What replaying one recording gave."""

    path: Path
    recording: Recording
    tasks: list[TaskOutcome]
    operations: list[OperationOutcome]
    streams: StreamComparison | None
    """None where they were not asked for, or the recorded model is not there."""

    @property
    def is_good(self) -> bool:
        good = all(task.verdict.value in ("equal", "not described") for task in self.tasks)
        good = good and not any(operation.first or operation.about for operation in self.operations)
        return good and not (self.streams and self.streams.unexplained)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--tolerance", type=click.IntRange(min=0), default=1, show_default=True, help="Steps an operation may be off."
)
@click.option("--beside-ours", is_flag=True, help="Also compare the recorded streams with ours of the same model.")
@json_option
def replay(paths: tuple[Path, ...], tolerance: int, beside_ours: bool, as_json: bool) -> int:
    """Run recorded submissions (zip files, or folders of one or of zip files) on the simulator and check every output.

    Each task is held against the integer model of the chip, each operation against the reference where the recording
    has it. Exit status 1 if a task is refused, defective or different, an operation is off by more than the tolerance,
    or streams differ in a way that docs/hardware/differences.md does not list.
    """
    found = []
    for path in _recordings(paths):
        found.append(_replay(path, tolerance, beside_ours))
        if not as_json:
            _print(found[-1], tolerance)
    if as_json:
        print_json([_document(item) for item in found])
    return 0 if all(item.is_good for item in found) else 1


def _recordings(paths: tuple[Path, ...]) -> list[Path]:
    """Replace a folder of zip files by these; skip README files, which a pattern such as ``DIR/*`` names as well."""
    found: list[Path] = []
    for path in paths:
        if path.name.upper().startswith("README") and path.suffix != ".zip":
            click.echo(f"rocketnpu replay: {path} is skipped: it is no recording", err=True)
        elif path.is_dir() and not (path / "recording.json").exists():
            found += sorted(path.glob("*.zip")) or [path]
        else:
            found.append(path)
    if not found:
        raise click.UsageError("there is no recording among these files")
    return found


def _replay(path: Path, tolerance: int, beside_ours: bool) -> _Found:
    from rocketnpu.inspect.recorded_model import recorded_model
    from rocketnpu.rockchip.streams.recording import load
    from rocketnpu.rockchip.streams.replay import replay_tasks
    from rocketnpu.rockchip.streams.replay_reference import replay_operations
    from rocketnpu.rockchip.streams.streams import compare_streams

    recording = load(path)
    tasks = replay_tasks(recording)
    graph = recorded_model(path, recording.model, recording.model_sha256)
    operations = list(replay_operations(recording, graph, tolerance))
    streams = compare_streams(recording, graph) if beside_ours and graph is not None else None
    return _Found(path, recording, tasks, operations, streams)


def _print(found: _Found, tolerance: int) -> None:
    recording = found.recording
    click.echo(f"{found.path}: {recording.model}, by {recording.producer}")
    if recording.failure:
        known = ("device", "core", "job", "task", "operator", "label")
        facts = [f"{name} {recording.failure[name]}" for name in known if recording.failure.get(name) is not None]
        click.echo(f"recorded failure: {', '.join(facts)}")
    counts = Counter(task.verdict.value for task in found.tasks)
    macs = sum(task.macs for task in found.tasks)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    click.echo(f"{len(found.tasks)} tasks, {macs:,} MACs: {verdicts}")
    rows = [
        (task.submission, task.job, task.task, task.verdict.value, task.about) for task in found.tasks if task.about
    ]
    if rows:
        print_table(("submission", "job", "task", "verdict", "why"), rows)
    if found.operations:
        _print_operations(found.operations, tolerance)
    if found.streams is not None:
        _print_streams(found.streams)


def _print_streams(streams: StreamComparison) -> None:
    classes = Counter(finding.explained_by or "UNEXPLAINED" for finding in streams.findings)
    listed = ", ".join(f"{count} {name}" for name, count in sorted(classes.items())) or "none"
    click.echo(f"{streams.registers} registers of {streams.operators} operators beside ours, differences: {listed}")
    for finding in streams.unexplained:
        click.echo(f"  {finding}")


def _print_operations(operations: list[OperationOutcome], tolerance: int) -> None:
    within = sum(not operation.first and not operation.about for operation in operations)
    worst = max((item.difference.maximum for item in operations if item.difference), default=0)
    click.echo(
        f"{within} of {len(operations)} operations within {tolerance} of the reference, the worst off by {worst}"
    )
    rows = [
        (
            f"{item.submission}.{item.operation}",
            item.tensor,
            item.difference.maximum if item.difference else "",
            f"{item.difference.share:.3%}" if item.difference else "",
            item.about or str(item.first),
        )
        for item in operations
        if item.first or item.about
    ]
    if rows:
        print_table(("operation", "tensor", "max", "differ", "first beyond the tolerance"), rows)


def _document(found: _Found) -> dict[str, Any]:
    return {
        "path": found.path,
        "producer": found.recording.producer,
        "model": found.recording.model,
        "failure": dict(found.recording.failure),
        "good": found.is_good,
        "tasks": [asdict(task) for task in found.tasks],
        "operations": [asdict(operation) for operation in found.operations],
        "streams": None if found.streams is None else asdict(found.streams),
    }
