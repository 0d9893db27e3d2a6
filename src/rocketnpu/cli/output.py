"""What all verbs print with: tables for people, JSON for programs, and the option that chooses."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_UNLIMITED_COLUMNS = 10_000


def json_option(function: Decorated) -> Decorated:
    """Add ``--json``, passed on as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(function)


def model_option(function: Decorated) -> Decorated:
    """Add ``-m/--model``, passed on as the text ``model``, to be given to :func:`rocketnpu.zoo.resolve`."""
    text = "A .tflite file, or a name of `rocketnpu models list`."
    return click.option("-m", "--model", "model", required=True, metavar="FILE|NAME", help=text)(function)


def print_json(value: Any) -> None:
    """Print ``value`` as one JSON document; dataclasses, paths, enumerations, sets and NumPy values are understood.

    Raises:
        TypeError: it holds something else.
        ValueError: it holds a number that JSON does not have (NaN, infinity).
    """
    click.echo(json.dumps(value, default=_plain, indent=2, ensure_ascii=False, allow_nan=False))


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

    Where stdout is no terminal, no line is wrapped or cut, so that other programs can read it.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=None, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _UNLIMITED_COLUMNS
    Console(file=sys.stdout, width=width, highlight=False).print(table)
