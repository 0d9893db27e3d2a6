"""``rocketnpu build-delegate``: make the shared library for hosts that load a delegate from a file."""

from __future__ import annotations

from pathlib import Path

import click

from rocketnpu.cli.output import echo
from rocketnpu.delegate.build import NAME, build
from rocketnpu.libpython import shortcoming


@click.command("build-delegate")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(NAME),
    show_default=True,
    metavar="PATH",
    help="Where to write the library; a folder gets it under its usual name.",
)
def build_delegate(output: Path) -> None:
    """Build the delegate as a shared library for any TensorFlow Lite program.

    Needs a C compiler. The library belongs to the Python environment that builds it.
    """
    echo(build(output / NAME if output.is_dir() else output))
    if missing := shortcoming():
        echo(missing, err=True)
