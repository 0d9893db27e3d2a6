"""``rocketnpu evidence``: which hardware rules there are, and what speaks for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rocketnpu.cli.output import chip_option, echo, echo_text, json_option, print_json, print_table

if TYPE_CHECKING:
    from rocketnpu.family import Family


@click.command()
@click.argument("names", nargs=-1)
@click.option("--page", type=click.Choice(["evidence", "differences"]), help="Print a page of docs/hardware.")
@click.option(
    "--import",
    "imported",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Show a report of `selftest --rules --report` beside others; may be repeated.",
)
@chip_option
@json_option
def evidence(names: tuple[str, ...], page: str | None, imported: tuple[Path, ...], chip: str, as_json: bool) -> None:
    """Print the hardware rules that compiler and simulator rely on, or those NAMES.

    The page "evidence" is the whole table, the page "differences" says where our command streams differ from the open
    driver's, and why. Where this machine's board was asked for rules (`selftest --rules`), the table says what it
    answered; --import shows what other boards did.
    """
    from rocketnpu.device.discover import local_standing
    from rocketnpu.errors import InputError
    from rocketnpu.family import family_of

    if page is not None and (as_json or names):
        raise click.UsageError(
            f"--page prints a whole page as Markdown, it takes no {'--json' if as_json else 'NAMES'}"
        )
    family = family_of(chip)
    if page is not None:
        echo_text(_page(page, family))
        return
    if imported:
        _show_reports(imported, family, as_json)
        return
    known = family.evidence.rules
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"there is no hardware rule {unknown[0]!r}; `rocketnpu evidence` lists them")
    rules = [known[name] for name in names or known]
    here = local_standing(family)
    said = {**here.proven, **here.refuted}
    if as_json:
        print_json([{**asdict(rule), "this_board": said.get(rule.name, "")} for rule in rules])
        return
    columns: tuple[str, ...] = ("rule", "evidence", "statement", "source", "test")
    rows: list[tuple[str, ...]] = [(r.name, r.evidence.value, r.statement, r.source, r.test) for r in rules]
    if said:
        columns = ("rule", "evidence", "this board", *columns[2:])
        rows = [(*row[:2], said.get(row[0], ""), *row[2:]) for row in rows]
    print_table(columns, rows)


def _show_reports(paths: Sequence[Path], family: Family, as_json: bool) -> None:
    from rocketnpu.proofs.report import read_report, side_by_side

    reports = [read_report(path) for path in paths]
    if as_json:
        print_json([{"path": found.path, "version": found.version, **found.record.document} for found in reports])
        return
    for number, found in enumerate(reports, 1):
        echo(f"{number}: {found.path}: {found.record.identity}, asked by version {found.version}")
    print_table(("rule", *map(str, range(1, len(reports) + 1))), side_by_side(reports, family.evidence.rules))


def _page(name: str, family: Family) -> str:
    from rocketnpu.inspect.evidence_page import evidence_page
    from rocketnpu.inspect.recorded import room

    return evidence_page(family.evidence, family.risks) if name == "evidence" else room(family.family).differences()
