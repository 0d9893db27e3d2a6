"""Whole networks on simulated chips: what is taken, jobs, coefficients, and each kind's distance from the reference.

    python benchmarks/chip_networks.py MODEL [MODEL ...] [--image FILE] [--chip NAME ...] [--json]

Prints the rows of docs/verisilicon.md's table. Every operator is given the reference's own inputs; "end to end" is the
whole network, the CPU's operators run by LiteRT. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from rocketnpu.family import family_of
from rocketnpu.inspect.compare import compare_model
from rocketnpu.inspect.kernels import Kernels
from rocketnpu.inspect.reference import run_model
from rocketnpu.model import tflite
from rocketnpu.partition.plan import plan
from rocketnpu.pictures import picture_for
from rocketnpu.policy import Policy
from rocketnpu.zoo import resolve

HENS = Path(__file__).resolve().parents[1] / "examples" / "hens.jpg"


def row(path: Path, chip: str, image: Path) -> dict[str, Any]:
    """Compare one network on one chip."""
    data, policy, family = path.read_bytes(), Policy(chip=chip), family_of(chip)
    graph = tflite.parse(data, path.name)
    divided = plan(graph, policy)
    works = [work for part in divided.parts for work in family.work(part, policy).operators.values()]
    inputs = [picture_for(image, graph.tensors[number]) for number in graph.inputs]
    found = compare_model(divided, run_model(data, graph, inputs), kernels=Kernels(data))
    kinds: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for item in found.operators:
        if item.difference is not None and item.where.startswith("npu"):
            kinds[item.kind].append((item.difference.maximum, item.difference.differing, item.difference.values))
    macs = sum(decision.macs for decision in divided.decisions)
    return {
        "chip": chip,
        "network": path.stem,
        "parts": len(divided.parts),
        "taken": sum(decision.supported for decision in divided.decisions),
        "operators": len(divided.decisions),
        "macs": sum(decision.macs for decision in divided.decisions if decision.supported) / max(macs, 1),
        "jobs": sum(work.tasks for work in works),
        "coefficients": sum(work.weight_bytes for work in works),
        "kinds": {
            kind: {
                "largest": max(m for m, _, _ in rows),
                "share": sum(d for _, d, _ in rows) / sum(v for *_, v in rows),
            }
            for kind, rows in kinds.items()
        },
        "equals model": all(item.equals_model is not False for item in found.operators),
        "within bounds": not any(item.exceeds for item in found.operators),
        "end to end": [output.difference.maximum for output in found.outputs],
        "cpu": {decision.operator: decision.reason for decision in divided.decisions if not decision.supported},
    }


def line(found: dict[str, Any]) -> str:
    kinds = ", ".join(f"{kind} {v['largest']} ({v['share']:.1%})" for kind, v in found["kinds"].items())
    sound = "yes" if found["equals model"] and found["within bounds"] else "NO"
    cells = (
        *(found["network"], found["chip"], found["parts"], f"{found['taken']} of {found['operators']}"),
        *(f"{found['macs']:.1%}", found["jobs"], f"{found['coefficients']:,}", kinds, sound),
        ", ".join(map(str, found["end to end"])) or "-",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--image", type=Path, default=HENS)
    parser.add_argument("--chip", nargs="*", default=["a311d", "imx8mp"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = [row(Path(resolve(model)), chip, options.image) for model in options.models for chip in options.chip]
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(
        "| network | chip | parts | operators | MACs | jobs | coefficients | largest (share off) | sound | end to end |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(map(line, found)))
    for item in found:
        print(f"\n{item['network']} on {item['chip']}, left to the CPU:")
        print("\n".join(f"* operator {number}: {reason}" for number, reason in item["cpu"].items()) or "* nothing")


if __name__ == "__main__":
    main()
