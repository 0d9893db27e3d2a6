"""``rocketnpu evidence``: which hardware rules there are, and what speaks for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rocketnpu.cli.output import chip_option, echo, json_option, print_json, print_table

if TYPE_CHECKING:
    from rocketnpu.family import Family


@click.command()
@click.argument("names", nargs=-1)
@click.option("--page", type=click.Choice(["evidence", "differences"]), help="Print a page of docs/hardware.")
@chip_option
@json_option
def evidence(names: tuple[str, ...], page: str | None, chip: str, as_json: bool) -> None:
    """Print the hardware rules that compiler and simulator rely on, or those NAMES.

    The page "evidence" is the whole table, the page "differences" says where our command streams differ from the open
    driver's, and why.
    """
    from rocketnpu.errors import InputError
    from rocketnpu.family import family_of

    if page is not None and (as_json or names):
        raise click.UsageError(
            f"--page prints a whole page as Markdown, it takes no {'--json' if as_json else 'NAMES'}"
        )
    family = family_of(chip)
    if page is not None:
        echo(_page(page, family), nl=False)
        return
    known = family.evidence.rules
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"there is no hardware rule {unknown[0]!r}; `rocketnpu evidence` lists them")
    rules = [known[name] for name in names or known]
    if as_json:
        print_json(rules)
        return
    columns = ("rule", "evidence", "statement", "source", "test")
    print_table(columns, [(r.name, r.evidence.value, r.statement, r.source, r.test) for r in rules])


def _page(name: str, family: Family) -> str:
    from rocketnpu.inspect.evidence_page import evidence_page
    from rocketnpu.inspect.recorded import room

    return evidence_page(family.evidence) if name == "evidence" else room(family.family).differences()
