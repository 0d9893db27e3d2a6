"""``rocketnpu replay``: recordings and failure bundles on the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rocketnpu.cli.output import echo, json_option, print_json, print_report

if TYPE_CHECKING:
    from rocketnpu.inspect.recorded import Report


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--tolerance", type=click.IntRange(min=0), default=1, show_default=True, help="Steps an operation may be off."
)
@click.option("--beside-ours", is_flag=True, help="Also compare the recorded streams with ours of the same model.")
@click.option("--beside", type=click.Path(path_type=Path), help="Compare with the streams of another recording only.")
@json_option
def replay(paths: tuple[Path, ...], tolerance: int, beside_ours: bool, beside: Path | None, as_json: bool) -> int:
    """Run recorded submissions (zip files, or folders of one or of zip files) on the simulator and check every output.

    Streams for an RK3588: each task is held against the integer model of the chip, exact to the bit, each operation
    against the reference where the recording has it, and the result against the chip's own bytes where it has those.
    Streams of the etnaviv driver: no byte that these chips wrote is public, so each operator is held against the
    reference given its own inputs, and defects of the stream are named.
    Exit status 1 if something is refused, defective or different, an operation is off by more than the tolerance, or
    streams differ in a way that docs/hardware/differences.md does not list.
    """
    found = []
    for path in _recordings(paths):
        found.append(_replay(path, tolerance, beside_ours, beside))
        if not as_json:
            print_report(found[-1])
    if as_json:
        print_json([report.document for report in found])
    return 0 if all(report.good for report in found) else 1


def _replay(path: Path, tolerance: int, beside_ours: bool, beside: Path | None) -> Report:
    from rocketnpu.inspect.recorded import room_of

    room = room_of(path)
    return room.replay(path, tolerance, beside_ours) if beside is None else room.compare(path, beside)


def _recordings(paths: tuple[Path, ...]) -> list[Path]:
    """Replace a folder of zip files by these; skip README files, which a pattern such as ``DIR/*`` names as well."""
    found: list[Path] = []
    for path in paths:
        if path.name.upper().startswith("README") and path.suffix != ".zip":
            echo(f"rocketnpu replay: {path} is skipped: it is no recording", err=True)
        elif path.is_dir() and not (path / "recording.json").exists():
            found += sorted(path.glob("*.zip")) or [path]
        else:
            found.append(path)
    if not found:
        raise click.UsageError("there is no recording among these files")
    return found
