"""An estimate as a trace file for Perfetto and Chrome: a track for each core, one for the host.

The format is Chrome's "Trace Event Format": JSON with complete events (``ph`` is ``X``), times in microseconds.
"""

from __future__ import annotations

from typing import Any

from rocketnpu.estimate.estimate import Estimate, TimedTask

PROCESS = 1
HOST_TRACK = 0
"""Track of the host; cores follow from 1 on."""


def trace(estimate: Estimate) -> dict[str, Any]:
    """Return the document of an estimate: the parts of one inference one behind the other, the same on each core."""
    events = [_named("process_name", HOST_TRACK, f"{estimate.name} on {estimate.chip} (estimated)")]
    events.append(_named("thread_name", HOST_TRACK, "host"))
    events += [_named("thread_name", core + 1, f"NPU core {core}") for core in range(estimate.board.cores)]
    now = 0.0
    half = estimate.board.host_us / 2
    for number, part in enumerate(estimate.parts):
        events.append(_event(f"part {number}: convert and submit", now, half, HOST_TRACK, {}))
        now += half
        end = now
        for core in range(estimate.board.cores):
            end = _tasks(events, part, now, core + 1)
        now = end
        events.append(_event(f"part {number}: wait and convert", now, half, HOST_TRACK, {}))
        now += half
    if estimate.cpu:
        kinds = ", ".join(f"{one.operator} {one.kind}" for one in estimate.cpu)
        events.append(_event("operators of the CPU (time not estimated)", now, 0.0, HOST_TRACK, {"operators": kinds}))
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _tasks(events: list[dict[str, Any]], tasks: tuple[TimedTask, ...], now: float, track: int) -> float:
    for task in tasks:
        now += task.start_us
        facts = {"bound by": task.bound_by, "bytes read": task.read, "bytes written": task.written}
        events.append(_event(task.label, now, task.busy_us, track, {**facts, **task.parts}))
        load = task.parts.get("load", 0.0)
        if load:
            events.append(_event("load", now, load, track, {}))
        rest = {name: value for name, value in task.parts.items() if name != "load"}
        slowest = max(rest, key=lambda name: rest[name])
        events.append(_event(slowest, now + load, task.busy_us - load, track, {}))
        now += task.busy_us
    return now


def _event(name: str, start: float, length: float, track: int, facts: dict[str, Any]) -> dict[str, Any]:
    times = {"ts": round(start, 3), "dur": round(max(length, 0.0), 3)}
    return {"name": name, "ph": "X", "cat": "npu", "pid": PROCESS, "tid": track, **times, "args": facts}


def _named(kind: str, track: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": PROCESS, "tid": track, "args": {"name": name}}
