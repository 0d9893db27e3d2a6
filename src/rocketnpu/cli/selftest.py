"""``rocketnpu selftest``: does this device compute what the simulator computes?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rocketnpu.cli.output import json_option, print_json
from rocketnpu.errors import DeviceError

if TYPE_CHECKING:
    from rocketnpu.device.selftest import Outcome


@click.command()
@click.option("-d", "--device", "name", default="auto", show_default=True, help="auto, simulator, rocket or rknpu.")
@click.option("-o", "--report", type=click.Path(path_type=Path), help="Write a report file that can be sent to others.")
@json_option
def selftest(name: str, report: Path | None, as_json: bool) -> int:
    """Run small networks on the device and on the simulator and compare every byte.

    Exit status 0 if all are equal, 1 if not.
    """
    from rocketnpu.cli.doctor import examine
    from rocketnpu.device.discover import open_device
    from rocketnpu.device.selftest import cases, compare

    def tell(outcome: Outcome) -> None:
        if not as_json:
            click.echo(_line(outcome))

    with open_device(name) as device:
        outcomes = compare(device, cases(), tell)
        found = {"device": device.name, "equal": all(outcome.equal for outcome in outcomes)}
    found |= {"cases": [asdict(outcome) for outcome in outcomes], "machine": [asdict(fact) for fact in examine()]}
    if as_json:
        print_json(found)
    else:
        good = sum(outcome.equal for outcome in outcomes)
        click.echo(f"{good} of {len(outcomes)} networks give the simulator's bytes on the device {found['device']}")
    if report:
        _write(report, found)
    return 0 if found["equal"] else 1


def _line(outcome: Outcome) -> str:
    if outcome.equal:
        verdict = f"equal, {outcome.total} bytes, {outcome.seconds * 1e3:.1f} ms"
    elif outcome.error:
        verdict = f"FAILED: {outcome.error}"
    else:
        verdict = f"DIFFERENT: {outcome.differing} of {outcome.total} bytes, the first at {outcome.first}"
    return f"{outcome.name:10} {verdict}  ({outcome.about})"


def _write(path: Path, found: dict[str, object]) -> None:
    try:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DeviceError(f"cannot write the report {path}: {error.strerror}") from None
    click.echo(f"report: {path}", err=True)
