"""What this family does with streams, for the common verbs: see :class:`rocketnpu.inspect.recorded.StreamRoom`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rocketnpu.errors import CommandError, InputError, UnsupportedError
from rocketnpu.files.limits import COMMAND_BYTES
from rocketnpu.files.reading import read_file
from rocketnpu.inspect.recorded import Report, Table, TimedRecording, is_recording
from rocketnpu.inspect.recorded_model import recorded_model
from rocketnpu.verisilicon.streams import disassembly
from rocketnpu.verisilicon.streams.beside import REASONS, Beside
from rocketnpu.verisilicon.streams.beside import beside_ours as beside_ours_of
from rocketnpu.verisilicon.streams.differences import differences
from rocketnpu.verisilicon.streams.jobs import Job, jobs_of
from rocketnpu.verisilicon.streams.recording import Recording, load
from rocketnpu.verisilicon.streams.replay import RAN, OperatorOutcome, Replay, replay

_CACHING = {0: "none", 1: "full", 2: "partial"}


class VerisiliconStreams:
    """Front-end streams of 32-bit words, and recordings of format 2."""

    def replay(self, path: Path, tolerance: int, beside_ours: bool) -> Report:
        """Run a recording: each operator against the reference given its own inputs; defects by name."""
        recording = load(path)
        graph = recorded_model(path, recording.model, recording.model_sha256)
        found = replay(recording, graph, tolerance)
        shown: list[str | Table] = [_title(path, recording), *_jobs(found)]
        if graph is None:
            shown.append(f"the model {recording.model} does not lie beside it: operators are not compared")
        shown += [*_operators(found, tolerance), *_outputs(found), *found.remarks]
        document = {
            "path": path,
            "producer": recording.producer,
            "model": recording.model,
            "chip": recording.soc.name,
            "good": found.is_good,
            "jobs": [asdict(job) for job in found.jobs],
            "operators": [asdict(operator) for operator in found.operators],
            "outputs": [asdict(output) for output in found.outputs],
            "remarks": found.remarks,
        }
        if beside_ours:
            if graph is None:
                raise InputError(f"{path}: the model {recording.model} does not lie beside it, so none is compiled")
            compared = beside_ours_of(recording, graph)
            shown += _beside(compared)
            document["beside ours"] = [asdict(row) for row in compared.differences]
            return Report(tuple(shown), document, found.is_good and not compared.unexplained)
        return Report(tuple(shown), document, found.is_good)

    def inspect(self, path: Path) -> Report:
        """List jobs with their kernels, tiles and caches."""
        recording = load(path)
        rows = [
            (number, job.number, job.unit, *_described(job))
            for number, submission in enumerate(recording.submissions)
            for job in jobs_of(submission, recording.soc)[0]
        ]
        columns = ("submission", "job", "unit", "input", "output", "kernels", "tile", "kernel cache", "image cache")
        table = Table(columns, rows, ("submission", "job"))
        document = {
            "path": path,
            "model": recording.model,
            "chip": recording.soc.name,
            "jobs": [dict(zip(columns, row, strict=True)) for row in rows],
        }
        return Report((_title(path, recording), table), document)

    def compare(self, path: Path, other: Path) -> Report:
        """Say where the streams of two recordings differ, places in memory apart."""
        found = differences(load(path), load(other))
        rows = [(row.submission, "" if row.job is None else row.job, row.what, row.one, row.other) for row in found]
        shown: list[str | Table] = [f"{path} beside {other}: {len(found)} differences"]
        if rows:
            shown.append(Table(("submission", "job", "what", "one", "other"), rows))
        document = {"path": path, "beside": other, "differences": [asdict(row) for row in found]}
        return Report(tuple(shown), document, not found)

    def text(self, path: Path, *, full: bool) -> str:
        """Return a recording's streams and instructions as text, coefficients if ``full``; or a raw stream's."""
        if path.is_dir() or is_recording(path):
            return disassembly.to_text(load(path), path.name, full=full)
        return disassembly.raw_text(read_file(path, COMMAND_BYTES, "stream", CommandError), path.name)

    def document(self, path: Path) -> dict[str, Any]:
        """Return a recording's streams and instructions as values for JSON; or a raw stream's commands."""
        if path.is_dir() or is_recording(path):
            return disassembly.to_document(load(path))
        return {"source": path.name, "stream": self.text(path, full=False).splitlines()[2:]}

    def timed(self, path: Path) -> TimedRecording:
        """Refuse: only times of whole networks are public."""
        raise UnsupportedError(
            f"{path}: there is no timing model of these chips: nobody published times of their layers"
        )

    def words(self, words: Sequence[int]) -> list[str]:
        """Return front-end words as numbers: a command may be longer than one word."""
        return [f"0x{word:08x}" for word in words]

    def differences(self) -> str:
        """Refuse: `replay --beside-ours` says of each recording what differs and why."""
        raise UnsupportedError("there is no such page for these chips: `replay --beside-ours` says it of a recording")

    def assemble(self, text: str) -> bytes:
        """Return a zip file with the bytes of each section of a text."""
        found = disassembly.assemble(text)
        if not found:
            raise CommandError("there is no section in this text: no STREAM, NN, TP or DATA")
        return disassembly.to_archive(found)


ROOM = VerisiliconStreams()


def _title(path: Path, recording: Recording) -> str:
    return f"{path}: {recording.model} for {recording.soc.name}, by {recording.producer}"


def _jobs(found: Replay) -> Iterator[str | Table]:
    counts = Counter(job.verdict for job in found.jobs)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "nothing was submitted"
    jobs = f"{len(found.jobs)} job{'' if len(found.jobs) == 1 else 's'}"
    yield f"{jobs}, {sum(job.macs for job in found.jobs):,} MACs: {verdicts}"
    rows = [(job.submission, job.job, job.unit, job.verdict, job.about) for job in found.jobs if job.verdict != RAN]
    if rows:
        yield Table(("submission", "job", "unit", "verdict", "why"), rows)


def _operators(found: Replay, tolerance: int) -> Iterator[str | Table]:
    if not found.operators:
        return
    within = sum(row.difference is not None and not row.first for row in found.operators)
    worst = max((row.difference.maximum for row in found.operators if row.difference), default=0)
    yield (
        f"{within} of {len(found.operators)} operators within {tolerance} of the reference given the operator's own "
        f"inputs, the worst off by {worst}"
    )
    rows = [_row(row) for row in found.operators if row.first or row.defects or row.about]
    if rows:
        columns = ("operator", "kind", "jobs", "max", "differ", "first beyond the tolerance", "defect of the stream")
        yield Table(columns, rows, ("operator", "max", "differ"))


def _beside(found: Beside) -> Iterator[str | Table]:
    if found.recorded != found.ours:
        yield f"{found.recorded} convolutions are recorded, ours has {found.ours}: not compared one by one"
        return
    yield f"{found.ours} convolutions beside ours: {len(found.differences)} differences"
    rows = [(row.job, row.what, row.one, row.other, REASONS.get(row.what, "")) for row in found.differences]
    if rows:
        yield Table(("job", "what", "recorded", "ours", "why"), rows, ("job",))


def _row(row: OperatorOutcome) -> tuple[object, ...]:
    jobs = f"{row.submission}.{row.jobs[0]}..{row.jobs[-1]}" if row.jobs else ""
    numbers = (row.difference.maximum, f"{row.difference.share:.3%}") if row.difference else ("", "")
    return (row.operator, row.kind, jobs, *numbers, row.first or row.about, "; ".join(row.defects))


def _outputs(found: Replay) -> Iterator[str]:
    for output in found.outputs:
        difference = output.difference
        yield (
            f"end to end, output {output.name}: max {difference.maximum}, {difference.differing} of "
            f"{difference.values} values differ"
        )


def _described(job: Job) -> tuple[str, ...]:
    fields = job.fields
    if not fields:
        return ("", "", job.problem, "", "", "")
    if job.unit == "TP":
        size = f"{fields['IN_X']}x{fields['IN_Y']}x{fields['IN_Z']}"
        window = f"{fields['WINDOW_X0']},{fields['WINDOW_Y0']}..{fields['WINDOW_X1']},{fields['WINDOW_Y1']}"
        what = "look-up" if fields["LOOKUP"] else ""
        return (size, window, what, f"{fields['TILE_X']}x{fields['TILE_Y']}", "", "")
    kernels = f"{fields['OUT_Z']} of {fields['KERNEL_X']}x{fields['KERNEL_Y']}x{fields['KERNEL_Z']}"
    return (
        f"{fields['IN_X']}x{fields['IN_Y']}",
        f"{fields['OUT_X']}x{fields['OUT_Y']}x{fields['OUT_Z']}{' first pixel' if fields['POOLING'] else ''}",
        f"{kernels}, {fields['KERNELS_PER_CORE']} per core{' depthwise' if fields['DEPTHWISE'] else ''}",
        f"{fields['TILE_X']}x{fields['TILE_Y']}",
        _cache(fields, "KERNEL"),
        _cache(fields, "IMAGE"),
    )


def _cache(fields: dict[str, int], what: str) -> str:
    mode = _CACHING.get(fields[f"{what}_CACHING"], "unknown")
    where = f" 0x{fields[f'{what}_CACHE_START']:x}..0x{fields[f'{what}_CACHE_END']:x}"
    return mode + (where if fields[f"{what}_CACHING"] else "")
