"""``rocketnpu operators``: the rules by which the NPU takes an operator."""

from __future__ import annotations

import click

from rocketnpu.cli.output import chip_option, echo, echo_text, json_option, print_json


@click.command()
@click.argument("kind", required=False)
@click.option("--markdown", is_flag=True, help="Print the page docs/supported-operators.md.")
@click.option("--by-chip", is_flag=True, help="Print the page docs/operators-by-chip.md.")
@chip_option
@json_option
def operators(kind: str | None, markdown: bool, by_chip: bool, chip: str, as_json: bool) -> None:
    """Print the rules of one KIND of operator, such as CONV_2D, or of all."""
    from rocketnpu.errors import InputError
    from rocketnpu.family import chips, family_of
    from rocketnpu.inspect.stated import chips_page, stated_bounds
    from rocketnpu.partition.published import page

    if (markdown or by_chip) and (as_json or kind is not None):
        option = "--markdown" if markdown else "--by-chip"
        raise click.UsageError(f"{option} prints a whole page, it takes no {'--json' if as_json else 'KIND'}")
    if by_chip:
        echo_text(chips_page([family_of(name) for name in chips()]))
        return
    family = family_of(chip)
    published = family.published()
    if not published:
        raise InputError(f"no operator is taken on the {family.title}: nothing is compiled for it yet")
    if markdown:
        echo_text(page(published, stated_bounds(family)))
        return
    found = [operator for operator in published if kind is None or operator.kind == kind.upper()]
    if not found:
        raise InputError(f"the NPU has no {kind}; it has {', '.join(operator.kind for operator in published)}")
    if as_json:
        print_json(found)
        return
    for operator in found:
        echo(f"{operator.kind}: {operator.means.sentence}")
        for rule in operator.rules:
            echo(f"  * {rule}")
