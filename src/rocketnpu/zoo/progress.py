"""What a person sees while a file is on its way: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rocketnpu.files.printable import printable, shows_progress

Report = Callable[[int], None]
"""Told the number of bytes that have arrived so far."""


def note(text: str) -> None:
    """Write one remark to stderr, where there is one."""
    if sys.stderr is not None:
        print(printable(f"rocketnpu: {text}"), file=sys.stderr, flush=True)


@contextmanager
def bar(description: str, total: int | None) -> Iterator[Report]:
    """Show a bar on stderr if that is a terminal; ``total`` is in bytes, None when it is not known."""
    if not shows_progress():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(printable(description), total=total)
        yield lambda done: progress.update(task, completed=done)
