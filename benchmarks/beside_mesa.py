"""Stock Mesa's recorded streams and our programs for the same models, on the same simulated VeriSilicon NPU.

    python benchmarks/beside_mesa.py --recordings DIR --models DIR [DIR ...] [--chip NAME ...] [--json]

DIR of the recordings holds a folder for each chip (a311d, imx8mp); models are found by their recordings' names. For
each model and each of the two: right or wrong (every operator within 1 of LiteRT's reference, given its own inputs),
the largest difference, jobs, and bytes of coefficients. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rocketnpu.errors import RocketError
from rocketnpu.family import family_of
from rocketnpu.inspect.compare import compare_model
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.verisilicon.streams.jobs import jobs_of
from rocketnpu.verisilicon.streams.recording import load
from rocketnpu.verisilicon.streams.replay import replay

CHIPS = ("a311d", "imx8mp")
RIGHT = 1


@dataclass(frozen=True)
class Side:
    """What one of the two makes of a model."""

    largest: int | None
    """Largest difference of an operator; None where nothing ran."""
    jobs: int
    coefficients: int
    taken: int
    """Operators on the NPU."""
    about: str = ""

    @property
    def verdict(self) -> str:
        if self.largest is None:
            return "not taken"
        return "right" if self.largest <= RIGHT and not self.about else "wrong"


def mesa(path: Path, model: Path) -> Side:
    """Replay a recording."""
    recording, graph = load(path), tflite.load(model)
    found = replay(recording, graph)
    sizes, count = 0, 0
    for submission in recording.submissions:
        jobs, _ = jobs_of(submission, recording.soc)
        count += len(jobs)
        sizes += sum(job.kernels.size for job in jobs if job.kernels is not None)
    differences = [row.difference.maximum for row in found.operators if row.difference]
    refused = next((job.about for job in found.jobs if job.verdict == "REFUSED"), "")
    return Side(max(differences, default=None), count, sizes, len(found.operators), refused)


def ours(model: Path, chip: str) -> Side:
    """Compile a model and run it, each operator on the reference's own inputs."""
    policy, graph = Policy(chip=chip), tflite.load(model)
    divided, family = plan(graph, policy), family_of(chip)
    if not divided.parts:
        return Side(None, 0, 0, 0, divided.decisions[0].reason)
    works = [family.work(part, policy).operators.values() for part in divided.parts]
    random = np.random.default_rng(1)
    inputs = []
    for number in graph.inputs:
        tensor = graph.tensors[number]
        limits = np.iinfo(tensor.dtype.value)
        inputs.append(random.integers(limits.min, limits.max, tensor.shape, tensor.dtype.value, endpoint=True))
    compared = compare_model(divided, reference(model.read_bytes(), inputs))
    largest = max((row.difference.maximum for row in compared.operators if row.difference), default=None)
    jobs = sum(work.tasks for part in works for work in part)
    sizes = sum(work.weight_bytes for part in works for work in part)
    about = "" if compared.is_sound else "differs from the integer model or its bound"
    return Side(largest, jobs, sizes, sum(d.supported for d in divided.decisions), about)


def rows(recordings: Path, models: list[Path], chips: list[str]) -> list[dict[str, object]]:
    found = []
    for chip in chips:
        for path in sorted((recordings / chip).glob("*.zip")):
            model = next((p for d in models if (p := d / f"{path.stem}.tflite").exists()), None)
            if model is None:
                print(f"{path.stem}: no model of that name", file=sys.stderr)
                continue
            sides = {}
            for name, run in (
                ("mesa", lambda p=path, m=model: mesa(p, m)),
                ("ours", lambda m=model, c=chip: ours(m, c)),
            ):
                try:
                    sides[name] = run()
                except RocketError as error:
                    sides[name] = Side(None, 0, 0, 0, str(error))
            found.append({"chip": chip, "model": path.stem, **sides})
            print(line(found[-1]), file=sys.stderr)
    return found


def line(row: dict[str, object]) -> str:
    cells = [row["chip"], row["model"]]
    for name in ("mesa", "ours"):
        side = row[name]
        assert isinstance(side, Side)
        off = "-" if side.largest is None else side.largest
        cells += [side.verdict, off, side.jobs, side.coefficients]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--chip", nargs="*", default=list(CHIPS), choices=CHIPS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = rows(options.recordings, options.models, options.chip)
    if options.json:
        sides = ("mesa", "ours")
        made = [{**row, **{n: {**asdict(row[n]), "verdict": row[n].verdict} for n in sides}} for row in found]
        print(json.dumps(made, indent=2))
        return
    print("| chip | model | Mesa | largest | jobs | bytes | ours | largest | jobs | bytes |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in found:
        print(line(row))
    for chip in options.chip:
        own = [row for row in found if row["chip"] == chip]
        for name in ("mesa", "ours"):
            right = sum(row[name].verdict == "right" for row in own)
            print(f"{chip}: {name} right in {right} of {len(own)}", file=sys.stderr)


if __name__ == "__main__":
    main()
