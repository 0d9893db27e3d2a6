"""``rocketnpu disassemble``: command streams as text, and back."""

from __future__ import annotations

from pathlib import Path

import click

from rocketnpu.cli.output import chip_option, echo_text, json_option, print_json
from rocketnpu.errors import CommandError
from rocketnpu.family import family_of
from rocketnpu.files.limits import COMMAND_TEXT_BYTES
from rocketnpu.files.reading import read_file
from rocketnpu.files.writing import check_apart, write_file
from rocketnpu.policy import DEFAULT_CHIP


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--assemble", "back", is_flag=True, help="FILE is such a text: write what it stands for.")
@click.option("--full", is_flag=True, help="Write coefficients out where they are summarised (etnaviv recordings).")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write instead of stdout.")
@chip_option
@json_option
def disassemble(file: Path, back: bool, full: bool, output: Path | None, chip: str, as_json: bool) -> None:
    """Print the command lists of a program, a recording or a raw command buffer, or a recorded front-end stream.

    Every word is a line: unit, register, and the fields that are not zero. Unknown registers, reserved bits and values
    without a meaning are marked in comments. The text of lists of 64-bit words assembles to a raw buffer, that
    of an etnaviv recording to a zip file with the bytes of each stream, instruction and, with --full, coefficients.
    A raw buffer does not say for which chip it is: --chip does.
    """
    from rocketnpu.inspect.recorded import is_recording, room, room_of

    if output is not None:
        check_apart(output, file, "the listing", CommandError)
    if back:
        if output is None:
            raise click.UsageError("--assemble writes a binary file: say which with -o")
        _assemble(file, output)
        return
    streams = room_of(file) if is_recording(file) else room(family_of(chip).family)
    if as_json:
        print_json(streams.document(file))
        return
    text = streams.text(file, full=full)
    if output is None:
        echo_text(text)
        return
    write_file(output, text.encode("utf-8", "backslashreplace"), "the listing", CommandError)


def _assemble(file: Path, output: Path) -> None:
    from rocketnpu.inspect.recorded import room

    data = read_file(file, COMMAND_TEXT_BYTES, "text of commands", CommandError)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"cannot assemble {file}: it is not UTF-8 text (at byte {error.start})") from None
    family = "verisilicon" if _names_a_chip(text) else family_of(DEFAULT_CHIP).family
    write_file(output, room(family).assemble(text), "command words", CommandError)


def _names_a_chip(text: str) -> bool:
    """Say whether the first line that is no comment names a chip or begins a stream, as texts for etnaviv do."""
    lines = (line.split("#", 1)[0].split() for line in text.splitlines())
    return next((words[0] in ("CHIP", "STREAM") for words in lines if words), False)
