"""``rocketnpu doctor``: can an NPU be used here, and if not, why?"""

from __future__ import annotations

import click

from rocketnpu.cli.output import echo, json_option, print_json, print_table
from rocketnpu.device.doctor import examine, usable


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Look at SoC, kernel, module, node, permissions, clock, IOMMU, memory, delegate and LiteRT.

    Exit status 0 if an NPU can be used, 1 if not (everything then runs on the simulator).
    """
    facts = examine()
    ready = usable(facts)
    if as_json:
        print_json({"usable": ready, "facts": facts})
        return 0 if ready else 1
    print_table(("", "", "found"), [(fact.state, fact.name, fact.found) for fact in facts])
    advice = [f"{fact.name}: {fact.advice}" for fact in facts if fact.advice]
    echo("\n" + ("An NPU can be used." if ready else "No NPU can be used here; programs run on the simulator."))
    for line in advice:
        echo(f"  {line}")
    return 0 if ready else 1
