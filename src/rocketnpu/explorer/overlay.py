"""Where each operator runs, as node data for Model Explorer: colours over the model's own graph.

The form is that of Model Explorer's node data files: values by the graph's id and a name, here that of an operator's
output tensor, as its own reader of TFLite files has them.
"""

from __future__ import annotations

import json
from pathlib import Path

from rocketnpu.errors import InputError
from rocketnpu.files.writing import write_file
from rocketnpu.partition.plan import Plan

GRAPH = "main"
"""What Model Explorer calls the first graph of a file."""
_CPU, _NPU = "#f4b183", ("#a9d18e", "#8fcaca", "#b4a7d6", "#9fc5e8")
"""Light, so that black letters can be read on them; parts of the NPU's work take turns."""


def overlay(plan: Plan) -> dict[str, object]:
    """Return node data of a plan: for each operator, by its outputs' names, where it runs, in words and colour."""
    results: dict[str, dict[str, str]] = {}
    parts = {operator.index: number for number, part in enumerate(plan.parts) for operator in part.operators}
    for operator in plan.graph.operators:
        part = parts.get(operator.index)
        where = {"value": "CPU", "bgColor": _CPU}
        if part is not None:
            where = {"value": f"NPU part {part}", "bgColor": _NPU[part % len(_NPU)]}
        results |= {plan.graph.tensors[number].name: where for number in operator.outputs}
    return {
        GRAPH: {
            "name": f"runs on ({plan.policy.target})",
            "results": results,
            "showExpandedSummaryOnGroupNode": True,
            # Words have no least, greatest and mean.
            "hideInAggregatedStatsTable": True,
            "hideInChildrenStatsTable": True,
        }
    }


def write_overlay(plan: Plan, path: Path) -> None:
    """Write a plan's node data to a file.

    Raises:
        InputError: it cannot be written.
    """
    write_file(path, json.dumps(overlay(plan), indent=2).encode(), "overlay", InputError)
