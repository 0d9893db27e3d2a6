"""``rocketnpu build-provider``: make the shared library for programs that use ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import click

from rocketnpu.cli.output import echo
from rocketnpu.libpython import shortcoming
from rocketnpu.provider.build import PROVIDER, build_provider


@click.command("build-provider")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(PROVIDER.name),
    show_default=True,
    metavar="PATH",
    help="Where to write the library; a folder gets it under its usual name.",
)
def build_provider_command(output: Path) -> None:
    """Build the execution provider as a shared library for any ONNX Runtime program, 1.23 or newer.

    Needs a C compiler. The library belongs to the Python environment that builds it. In Python:
    onnxruntime.register_execution_provider_library, then add_provider_for_devices.
    """
    echo(build_provider(output / PROVIDER.name if output.is_dir() else output))
    if missing := shortcoming():
        echo(missing, err=True)
