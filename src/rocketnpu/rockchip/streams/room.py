"""What this family does with streams, for the common verbs: see :class:`rocketnpu.inspect.recorded.StreamRoom`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rocketnpu.errors import InputError
from rocketnpu.inspect.recorded import Report, Table, TimedRecording
from rocketnpu.inspect.recorded_model import recorded_model
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.streams import disassembly
from rocketnpu.rockchip.streams.differences_page import differences_page
from rocketnpu.rockchip.streams.recording import Recording, load
from rocketnpu.rockchip.streams.replay import TaskOutcome, replay_tasks
from rocketnpu.rockchip.streams.replay_reference import OperationOutcome, replay_operations
from rocketnpu.rockchip.streams.replay_silicon import compare_silicon
from rocketnpu.rockchip.streams.streams import StreamComparison, compare_streams


class RockchipStreams:
    """Command lists of 64-bit words, and recordings of format 1."""

    def replay(self, path: Path, tolerance: int, beside_ours: bool) -> Report:
        """Run a recording: each task against the integer model, each operation against the reference.

        The result is held against the chip's own bytes where somebody recorded those.
        """
        recording = load(path)
        tasks = replay_tasks(recording)
        graph = recorded_model(path, recording.model, recording.model_sha256)
        operations = list(replay_operations(recording, graph, tolerance))
        streams = compare_streams(recording, graph) if beside_ours and graph is not None else None
        good = all(task.verdict.value in ("equal", "not described") for task in tasks)
        good = good and not any(operation.first or operation.about for operation in operations)
        good = good and not (streams and streams.unexplained)
        silicon = compare_silicon(recording)
        good = good and not (silicon and (silicon.different or silicon.about))
        shown = [*_head(path, recording, tasks), *_operations(operations, tolerance), *_streams(streams)]
        if silicon is not None:
            shown.append(str(silicon))
        document = {
            "path": path,
            "producer": recording.producer,
            "model": recording.model,
            "failure": dict(recording.failure),
            "good": good,
            "tasks": [asdict(task) for task in tasks],
            "operations": [asdict(operation) for operation in operations],
            "silicon": None if silicon is None else asdict(silicon),
            "streams": None if streams is None else asdict(streams),
        }
        return Report(tuple(shown), document, good)

    def inspect(self, path: Path) -> Report:
        """List submissions, jobs and tasks."""
        recording = load(path)
        tasks = [
            (number, index, where, task.words, f"0x{task.address:x}")
            for number, submission in enumerate(recording.submissions)
            for index, job in enumerate(submission.jobs)
            for where, task in enumerate(job.tasks)
        ]
        columns = ("submission", "job", "task", "words", "address")
        shown = (f"{path}: {recording.model}, by {recording.producer}", Table(columns, tasks, columns))
        rows = [dict(zip(columns, task, strict=True)) for task in tasks]
        return Report(shown, {"path": path, "model": recording.model, "tasks": rows})

    def compare(self, path: Path, other: Path) -> Report:
        """Refuse: streams of this family are compared with ours."""
        raise InputError(
            f"{path}: streams of this format are compared with what is compiled here: replay --beside-ours; "
            f"{other} is not looked at"
        )

    def text(self, path: Path, *, full: bool) -> str:
        """Return the command lists of a program, a recording or a raw buffer as text, always in full."""
        del full
        return disassembly.to_text(disassembly.disassemble(path))

    def document(self, path: Path) -> dict[str, Any]:
        """Return the command lists as values for JSON."""
        return disassembly.to_document(disassembly.disassemble(path))

    def timed(self, path: Path) -> TimedRecording:
        """Return a recording's tasks for the judge of registers."""
        from rocketnpu.rockchip.streams.timed import recording_tasks

        recording = load(path)
        name = f"{recording.model} ({recording.producer})"
        return TimedRecording(name, RK3588.name, lambda given: recording_tasks(recording, given, RK3588))

    def words(self, words: Sequence[int]) -> list[str]:
        """Return register writes by name, with what is wrong with each."""
        lines = [disassembly.describe(word) for word in words]
        return ["  ".join((line.text, *(f"# {problem}" for problem in line.problems))) for line in lines]

    def differences(self) -> str:
        """Return the page on where our streams differ from Mesa's."""
        return differences_page()

    def assemble(self, text: str) -> bytes:
        """Return a text's words as a raw buffer."""
        return disassembly.assemble(text).tobytes()


ROOM = RockchipStreams()


def _head(path: Path, recording: Recording, tasks: Sequence[TaskOutcome]) -> Iterator[str | Table]:
    yield f"{path}: {recording.model}, by {recording.producer}"
    if recording.failure:
        known = ("device", "core", "job", "task", "operator", "label")
        facts = [f"{name} {recording.failure[name]}" for name in known if recording.failure.get(name) is not None]
        yield f"recorded failure: {', '.join(facts)}"
    counts = Counter(task.verdict.value for task in tasks)
    macs = sum(task.macs for task in tasks)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    yield f"{len(tasks)} tasks, {macs:,} MACs: {verdicts}"
    rows = [(task.submission, task.job, task.task, task.verdict.value, task.about) for task in tasks if task.about]
    if rows:
        yield Table(("submission", "job", "task", "verdict", "why"), rows)


def _operations(operations: Sequence[OperationOutcome], tolerance: int) -> Iterator[str | Table]:
    if not operations:
        return
    within = sum(not operation.first and not operation.about for operation in operations)
    worst = max((item.difference.maximum for item in operations if item.difference), default=0)
    yield f"{within} of {len(operations)} operations within {tolerance} of the reference, the worst off by {worst}"
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
        yield Table(("operation", "tensor", "max", "differ", "first beyond the tolerance"), rows)


def _streams(streams: StreamComparison | None) -> Iterator[str]:
    if streams is None:
        return
    classes = Counter(finding.explained_by or "UNEXPLAINED" for finding in streams.findings)
    listed = ", ".join(f"{count} {name}" for name, count in sorted(classes.items())) or "none"
    yield f"{streams.registers} registers of {streams.operators} operators beside ours, differences: {listed}"
    yield from (f"  {finding}" for finding in streams.unexplained)
