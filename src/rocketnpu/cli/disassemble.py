"""``rocketnpu disassemble``: command streams as text, and back."""

from __future__ import annotations

from pathlib import Path

import click

from rocketnpu.cli.output import json_option, print_json


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--assemble", "back", is_flag=True, help="FILE is such a text: write its words, as a raw buffer.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write instead of stdout.")
@json_option
def disassemble(file: Path, back: bool, output: Path | None, as_json: bool) -> None:
    """Print the command lists of a program, a recording or a raw command buffer.

    Every word is a line: unit, register, and the fields that are not zero. Unknown registers, reserved bits and values
    without a meaning are marked in comments.
    """
    from rocketnpu.errors import CommandError
    from rocketnpu.rockchip.streams import disassembly

    if back:
        if output is None:
            raise click.UsageError("--assemble writes a binary file: say which with -o")
        try:
            words = disassembly.assemble(file.read_text(encoding="utf-8"))
            output.write_bytes(words.tobytes())
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"cannot assemble {file} to {output}: {error}") from None
        return
    found = disassembly.disassemble(file)
    if as_json:
        print_json(disassembly.to_document(found))
        return
    text = disassembly.to_text(found)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {output}: {error.strerror}") from None
