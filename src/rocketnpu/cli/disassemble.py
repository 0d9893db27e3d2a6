"""``rocketnpu disassemble``: command streams as text, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rocketnpu.cli.output import json_option, print_json

if TYPE_CHECKING:
    from rocketnpu.errors import RocketError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--assemble", "back", is_flag=True, help="FILE is such a text: write what it stands for.")
@click.option("--full", is_flag=True, help="Write coefficients out where they are summarised (etnaviv recordings).")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write instead of stdout.")
@json_option
def disassemble(file: Path, back: bool, full: bool, output: Path | None, as_json: bool) -> None:
    """Print the command lists of a program, a recording or a raw command buffer, or a recorded front-end stream.

    Every word is a line: unit, register, and the fields that are not zero. Unknown registers, reserved bits and values
    without a meaning are marked in comments. The text of an RK3588's lists assembles to a raw buffer, that
    of an etnaviv recording to a zip file with the bytes of each stream, instruction and, with --full, coefficients.
    """
    from rocketnpu.inspect.recorded import is_recording, room, room_of

    if back:
        if output is None:
            raise click.UsageError("--assemble writes a binary file: say which with -o")
        _assemble(file, output)
        return
    streams = room_of(file) if is_recording(file) else room("rockchip")
    if as_json:
        print_json(streams.document(file))
        return
    text = streams.text(file, full=full)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _failed(f"cannot write {output}: {error.strerror}") from None


def _assemble(file: Path, output: Path) -> None:
    from rocketnpu.inspect.recorded import room

    try:
        text = file.read_text(encoding="utf-8")
        family = "verisilicon" if _names_a_chip(text) else "rockchip"
        output.write_bytes(room(family).assemble(text))
    except (OSError, UnicodeDecodeError) as error:
        raise _failed(f"cannot assemble {file} to {output}: {error}") from None


def _names_a_chip(text: str) -> bool:
    """Say whether the first line that is no comment names a chip, as texts of etnaviv recordings do."""
    lines = (line.split("#", 1)[0].split() for line in text.splitlines())
    return next((words[0] == "CHIP" for words in lines if words), False)


def _failed(message: str) -> RocketError:
    from rocketnpu.errors import CommandError

    return CommandError(message)
