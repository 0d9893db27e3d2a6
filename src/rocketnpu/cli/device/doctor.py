"""``rocketnpu doctor``: can an NPU be used here, and if not, why?"""

from __future__ import annotations

from pathlib import Path

import click

from rocketnpu.cli.output import chip_option, echo, json_option, print_json, print_table
from rocketnpu.device.doctor import examine, usable


@click.command()
@click.option("--overlay", type=click.Path(path_type=Path), help="Write a device-tree overlay with a faster NPU clock.")
@click.option("--clock", type=click.IntRange(min=1), metavar="MHZ", help="The overlay's rate, if not the safe one.")
@chip_option
@json_option
def doctor(overlay: Path | None, clock: int | None, chip: str, as_json: bool) -> int:
    """Look at SoC, kernel, module, node, permissions, clock, IOMMU, memory, delegate and LiteRT.

    Exit status 0 if an NPU can be used, 1 if not (everything then runs on the simulator).
    """
    if overlay:
        _write_overlay(overlay, clock, chip)
        return 0
    if clock is not None:
        raise click.UsageError("--clock is the rate of --overlay FILE; see also `rocketnpu estimate --clock`")
    facts = examine()
    ready = usable(facts)
    if as_json:
        print_json({"usable": ready, "facts": facts})
        return 0 if ready else 1
    print_table(("", "", "found"), [(fact.state, fact.name, fact.found) for fact in facts])
    advice = [f"{fact.name}: {fact.advice}" for fact in facts if fact.advice]
    echo()
    echo("An NPU can be used." if ready else "No NPU can be used here; programs run on the simulator.")
    for line in advice:
        echo(f"  {line}")
    return 0 if ready else 1


def _write_overlay(path: Path, clock: int | None, chip: str) -> None:
    from rocketnpu.errors import InputError
    from rocketnpu.family import family_of
    from rocketnpu.files.writing import write_file

    write_file(path, family_of(chip).clock_overlay(clock).encode(), "overlay", InputError)
    echo(f"{path}: read what it says at its head; docs/devices.md tells how to apply it and how to take it back")
