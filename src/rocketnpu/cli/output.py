"""What all verbs print with: tables for people, JSON for programs, and the option that chooses."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rocketnpu.files.printable import printable, printable_line
from rocketnpu.policy import DEFAULT_CHIP

if TYPE_CHECKING:
    from rocketnpu.inspect.recorded import Report

    _ShapeType = click.ParamType[tuple[str, tuple[int, ...]]]
else:  # click before 8.3, which Debian 13 has, is not generic
    _ShapeType = click.ParamType

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Inputs by name, with the shapes that a user gives them."""
_GAP = "  "
_BOLD, _ITALIC = "\x1b[1m{}\x1b[0m", "\x1b[3m{}\x1b[0m"


def json_option(function: Decorated) -> Decorated:
    """Add ``--json``, passed on as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(function)


def chip_option(function: Decorated) -> Decorated:
    """Add ``--chip``, passed on as the text ``chip``, to be given to :func:`rocketnpu.family.family_of`."""
    text = "The chip, where no device names it; an unknown name lists all."
    return click.option("--chip", "chip", default=DEFAULT_CHIP, show_default=True, metavar="NAME", help=text)(function)


def target_option(function: Decorated) -> Decorated:
    """Add ``--target``, passed on as the text ``target``: whose programs the simulator runs."""
    text = "Whose programs the simulator runs: its own, which may use rules without proof, or those of a board."
    names = click.Choice(["simulator", "mainline", "vendor"])
    return click.option("--target", type=names, default="simulator", show_default=True, help=text)(function)


def model_option(function: Decorated) -> Decorated:
    """Add ``-m/--model``, passed on as the text ``model``, to be given to :func:`rocketnpu.zoo.resolve`."""
    text = "A .tflite or .onnx file, or a name of `rocketnpu models list`."
    return click.option("-m", "--model", "model", required=True, metavar="FILE|NAME", help=text)(function)


class _Shape(_ShapeType):
    """The name of an input and its shape, as in ``x=1x3x224x224``."""

    name = "shape"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, ...]]:
        """Read one."""
        if isinstance(value, tuple):
            return value
        name, _, text = str(value).rpartition("=")
        sizes = text.split("x")
        if not name or not all(size.isdecimal() and int(size) > 0 for size in sizes):
            self.fail(f"{value!r} is no shape of an input; write it as NAME=1x3x224x224", param, ctx)
        return name, tuple(int(size) for size in sizes)


def shapes_option(function: Decorated) -> Decorated:
    """Add ``--input``, passed on as ``shapes``: pairs of a name and a shape."""
    text = "Shape of an input, where the model leaves it open or another is wanted; may be repeated."
    return click.option("--input", "shapes", type=_Shape(), multiple=True, metavar="NAME=SHAPE", help=text)(function)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def echo(line: object = "", *, err: bool = False) -> None:
    """Print one line on stdout, or on stderr; what could steer a terminal is written out, whoever's words it holds."""
    echo_text(f"{printable_line(str(line))}\n", err=err)


def echo_text(text: str, *, err: bool = False) -> None:
    """Print a text of lines that are each known to be one, as :func:`echo` does; it says itself where lines end."""
    if err and sys.stderr is None:  # closed by who called; click before 8.2 would fail
        return
    click.echo(printable(text), err=err, nl=False)


def print_json(value: Any) -> None:
    """Print ``value`` as one JSON document; dataclasses, paths, enumerations, sets and NumPy values are understood.

    Raises:
        TypeError: it holds something else.
        ValueError: it holds a number that JSON does not have (NaN, infinity).
    """
    text = json.dumps(value, default=_plain, indent=2, ensure_ascii=False, allow_nan=False)
    click.echo(text if printable(text) == text else json.dumps(value, default=_plain, indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = (), title: str = ""
) -> None:
    """Print a table on stdout, in colour on a terminal only; columns named in ``right`` are aligned to the right.

    Where stdout is no terminal, no line is wrapped or cut, so that other programs can read it. On a terminal that is
    too narrow the last column is wrapped between words; where that is not enough, nothing is wrapped.
    """
    cells = [[_one_line(cell) for cell in line] for line in (columns, *rows)]
    widths = [max(map(_cells, column)) for column in zip(*cells, strict=True)]
    terminal = sys.stdout is not None and sys.stdout.isatty()
    if terminal:
        widths[-1] = _last_width(widths, [line[-1] for line in cells])
    styled = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown")
    if title:
        title = _one_line(title)
        click.echo(_ITALIC.format(title) if styled else title)
    aligned = [column in right for column in columns]
    for number, line in enumerate(cells):
        for text in _lines(line, widths, aligned):
            click.echo(_BOLD.format(text) if styled and not number else text)


def print_report(report: Report) -> None:
    """Print what was found in a recording."""
    for item in report.shown:
        if isinstance(item, str):
            echo(item)
        else:
            print_table(item.columns, item.rows, right=item.right)


class LogLines(logging.Formatter):
    """Log records, one line each and before a traceback; what could steer a terminal is written out."""

    def __init__(self) -> None:
        super().__init__("rocketnpu: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line."""
        return _one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the traceback."""
        return printable(super().formatException(ei))


def log_to_stderr() -> None:
    """Have the process's log, which holds strangers' words, printed on stderr, warnings and worse."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def _one_line(cell: object) -> str:
    return printable_line(str(cell).replace("\t", " "))


def _last_width(widths: Sequence[int], cells: Sequence[str]) -> int:
    """Return how wide the last column is to be: what the others leave of the terminal, if its words fit there."""
    left = shutil.get_terminal_size().columns - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
    longest = max((_cells(word) for cell in cells for word in cell.split()), default=0)
    return min(widths[-1], left) if left >= longest else widths[-1]


def _lines(cells: Sequence[str], widths: Sequence[int], aligned: Sequence[bool]) -> Iterable[str]:
    wrapped = _wrap(cells[-1], widths[-1])
    for number, last in enumerate(wrapped):
        line = [*(cells[:-1] if number == 0 else [""] * (len(cells) - 1)), last]
        blanks = [" " * (width - _cells(cell)) for cell, width in zip(line, widths, strict=True)]
        parts = [
            pad + cell if to_right else cell + pad for cell, pad, to_right in zip(line, blanks, aligned, strict=True)
        ]
        yield _GAP.join(parts).rstrip()


def _wrap(text: str, width: int) -> list[str]:
    """Break a text between words into lines of at most ``width``."""
    if _cells(text) <= width:
        return [text]
    lines: list[str] = []
    for word in text.split():
        if lines and _cells(lines[-1]) + 1 + _cells(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
