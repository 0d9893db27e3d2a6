"""What networks take on a chip, ours beside others': judged streams, published measurements, and our programs.

    python benchmarks/chip_time.py [--models FOLDER] [--recordings FOLDER] [--before CHECKOUT] [--json]

Everything of ours is an estimate (``rocketnpu estimate``); published times name their source. "before" is what
another checkout's compiler makes, judged from its registers. Limits are those of bytes and multiplications alone
(timing 6.1). Times in milliseconds. Mainline: 198 MHz, a start by interrupt of 30 us (20 and 37 beside it), 0.35 ms on
the host, 60 us a barrier. Vendor: 1 GHz, tasks chained at 1 us, no host.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from networks import NETWORKS, SHAPES, network_model

from rocketnpu import zoo
from rocketnpu.graph import Graph
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.assembly.splitting import BARRIER_US, split_graph
from rocketnpu.rockchip.prepared import lower, prepare
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.streams.disassembly import disassemble
from rocketnpu.rockchip.tasks.cycles import task_work
from rocketnpu.rockchip.tasks.jobs import job_groups
from rocketnpu.rockchip.timing.judge import judge_words
from rocketnpu.rockchip.timing.setting import MAINLINE, VENDOR, Setting
from rocketnpu.rockchip.timing.work import Work

SHARED = Path(__file__).resolve().parents[2] / "shared"
BARRIERS = (0.0, 20.0, 38.0)
POLICIES = {"all rules": Policy("mainline", True), "proven rules": Policy("mainline", False)}
CHAINED = replace(VENDOR, layer_us=0.0)
SHAPED = {
    **{f"{name} (random weights)": NETWORKS[name].layers for name in ("ResNet50 224", "YOLOv5s ReLU 640")},
    **{f"{name} (random weights)": layers for name, layers in SHAPES.items()},
}
"""Networks of which only shapes are known: chains of convolutions, additions, joins and activations left out."""
PUBLISHED = {
    "mobilenet_v1_1.0_224_quant": (
        "2.18 vendor 1 GHz, 11.2 Mesa mainline (widetii/orangepi5plus-npu)",
        "limits 1.40 one core, 0.64 three cores at 1 GHz",
    ),
    "mobilenet_v2_1.0_224_quant": (
        "2.22 vendor (rknn_model_zoo v2.3.2), 13.3 to 13.9 Mesa mainline (widetii)",
        "limits 1.66 one core, 0.76 three cores at 1 GHz",
    ),
}


@dataclass(frozen=True)
class Line:
    """One network under one policy."""

    network: str
    what: str
    parts: int
    tasks: int
    figures: dict[str, float]


def stream_ms(works: Sequence[Work], setting: Setting, host_ms: float) -> float:
    """Return the time of tasks one behind the other."""
    return sum(setting.us(setting.cycles(work).total) + setting.start_us for work in works) / 1e3 + host_ms


def one_core(works: Sequence[Work], host_ms: float = 0.35) -> dict[str, float]:
    """Return the figures of one core."""
    found = {"1 GHz chain": stream_ms(works, CHAINED, 0.0)}
    found["overlap could save"] = sum(CHAINED.us(CHAINED.cycles(work).hidden_load) for work in works) / 1e3
    for start in (30.0, 20.0, 37.0):
        found[f"198 MHz, {start:g} us"] = stream_ms(works, replace(MAINLINE, start_us=start), host_ms)
    return found


def ours(name: str, graph: Graph, title: str, policy: Policy) -> Line:
    """Compile and estimate a network."""
    parts = plan(graph, policy).parts
    groups = [group for part in parts for group in job_groups(lower(part, RK3588, policy).tasks, RK3588)]
    works = [task_work(task, RK3588) for group in groups for task in group]
    figures = one_core(works, 0.35 * len(parts))
    prepared = [prepare(part, RK3588, policy) for part in parts]
    for barrier in BARRIERS:
        three = [split_graph(one, RK3588, policy, replace(CHAINED, cores=3), barrier) for one in prepared]
        figures[f"3 cores 1 GHz, {barrier:g} us a barrier"] = sum(one.split_us for one in three) / 1e3
    slow = [split_graph(one, RK3588, policy, replace(MAINLINE, cores=3), BARRIER_US) for one in prepared]
    figures["3 cores 198 MHz, 60 us a barrier"] = sum(one.split_us for one in slow) / 1e3 + 0.35 * len(parts)
    return Line(name, f"ours, {title}", len(parts), len(works), figures)


def recorded(path: Path) -> Line:
    """Judge a recording's last submission."""
    listings = disassemble(path).listings
    last = listings[-1].title.partition(" job ")[0]
    words = [listing.words.tolist() for listing in listings if listing.title.startswith(f"{last} job ")]
    works = [judge_words(one, RK3588) for one in words]
    return Line(path.stem, "Mesa's stream, judged", 1, len(works), one_core(works))


def models(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the networks at hand, then those of which only shapes are known, with random weights."""
    for name in (
        "mobilenet_v1_1.0_224_quant",
        "mobilenet_v2_1.0_224_quant",
        "efficientnet_lite0_litert_quantizer_int8",
    ):
        path = folder / f"{name}.tflite"
        if path.is_file():
            yield name, path
    fetched = zoo.Cache().find(zoo.named("ssdlite_mobiledet"), zoo.named("ssdlite_mobiledet").model)
    if fetched is not None:  # `rocketnpu models ssdlite_mobiledet` fetches it
        yield fetched.stem, fetched
    with tempfile.TemporaryDirectory() as made:
        for name, layers in SHAPED.items():
            path = Path(made, f"{name}.tflite")
            path.write_bytes(network_model(layers))
            yield name, path


OLD = """
import sys
import numpy as np
from rocketnpu.compiler import compile_graph
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
policy = Policy("mainline", allow_unproven=sys.argv[2] == "all rules")
found = []
for number, part in enumerate(plan(tflite.load(sys.argv[1]), policy).parts):
    program = compile_graph(part, policy)
    words = np.frombuffer(program.buffers[program.commands].data, "<u8")
    found += [(number, words[task.offset // 8 :][: task.words]) for task in program.tasks]
np.savez(sys.argv[3], parts=[number for number, _ in found], **{str(at): words for at, (_, words) in enumerate(found)})
"""
"""Compiles with another checkout's package, and keeps the command lists."""


def before(checkout: Path, model: Path, name: str, title: str) -> Line:
    """Compile with another checkout, and judge its command lists as this one does."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "words.npz")
        environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
        command = [sys.executable, "-P", "-c", OLD, str(model), title, str(kept)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            return Line(name, f"before, {title}: {reason}", 0, 0, {})
        with np.load(kept) as words:
            parts = len(set(words["parts"].tolist()))
            works = [judge_words(words[str(at)].tolist(), RK3588) for at in range(len(words["parts"]))]
    return Line(name, f"before, {title}", parts, len(works), one_core(works, 0.35 * parts))


def lines(folder: Path, recordings: Path, checkout: Path | None) -> Iterator[Line]:
    """Yield all lines of the table."""
    for name in ("mobilenet_v1_1.0_224_embedding",):
        if (recordings / f"{name}.zip").is_file():
            yield recorded(recordings / f"{name}.zip")
            graph = tflite.load(recordings / f"{name}.tflite")
            yield from (ours(name, graph, title, policy) for title, policy in POLICIES.items())
    for name, path in models(folder):
        for title, policy in POLICIES.items():
            if checkout is not None:
                yield before(checkout, path, name, title)
            yield ours(name, tflite.load(path), title, policy)


def show(line: Line) -> None:
    """Print one line."""
    print(f"{line.network}: {line.what}, {line.tasks} tasks in {line.parts} part{'s' if line.parts > 1 else ''}")
    for name, value in line.figures.items():
        print(f"    {name:34} {value:7.2f}")
    for text in PUBLISHED.get(line.network, ()):
        print(f"    {text}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="time of networks on the chip, estimated, beside what was published")
    parser.add_argument("--models", type=Path, default=SHARED / "models")
    parser.add_argument("--recordings", type=Path, default=SHARED / "golden" / "mesa")
    parser.add_argument("--before", type=Path, help="another checkout of this repository, compiled with too")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = []
    for line in lines(arguments.models, arguments.recordings, arguments.before):
        found.append({"network": line.network, "what": line.what, "tasks": line.tasks, **line.figures})
        if not arguments.json:
            show(line)
    if arguments.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
