"""``rocketnpu board``: the real kernel driver on a virtual board, with the simulator as the NPU."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rocketnpu.cli.output import echo
from rocketnpu.family import family_of
from rocketnpu.policy import DEFAULT_CHIP

if TYPE_CHECKING:
    from rocketnpu.board.machine import Verdict


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.option("--cores", type=click.IntRange(1, 3), default=3, show_default=True, help="NPU cores of the board.")
@click.option("--module", type=click.Path(path_type=Path), help="Load this rocket.ko in place of the one built.")
@click.option("--share", type=click.Path(path_type=Path), help="Folder that the board sees as /out, to read and write.")
@click.option("--tasks", is_flag=True, help="Say on stderr what the simulator makes of each task.")
@click.option("--registers", is_flag=True, help="The same, with each task's command list in words.")
@click.option("--posted", is_flag=True, help="Let the board's time be the host's, and tasks run beside its processor.")
@click.option("--timeout", type=click.FloatRange(min=1), help="Switch the board off after so many seconds.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def board(
    command: tuple[str, ...],
    cores: int,
    module: Path | None,
    share: Path | None,
    tasks: bool,
    registers: bool,
    posted: bool,
    timeout: float | None,
) -> int:
    """Run COMMAND, or a shell, on a virtual board: Debian's kernel, the unmodified rocket driver, a simulated NPU.

    The board has this project, Python and stock Mesa's delegate (/usr/lib/teflon). It is made of Debian packages on
    first use, without root, and kept in the cache. The exit status is the command's; what the kernel warned of is on
    stderr.
    """
    from rocketnpu.board.board import Board, Work
    from rocketnpu.board.machine import Settings
    from rocketnpu.errors import DeviceError, InputError

    for path, kind in ((module, Path.is_file), (share, Path.is_dir)):
        if path is not None and not kind(path):
            raise InputError(f"{path} is not there, or not {'a file' if path is module else 'a folder'}")
    log = _TaskLog(tasks, registers)
    settings = Settings(
        cores=cores, counted=not posted, module=module, seconds=timeout or (600.0 if command else float("inf"))
    )
    ready = Board.prepare()
    with ExitStack() as stack:
        out = share or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rocketnpu-out-")))
        work = Work(
            command or ("/bin/sh", "-i"),
            out.absolute(),
            interactive=not command,
            terminal=("-chardev", f"stdio,id=terminal,signal={'on' if command else 'off'}"),
        )
        done = ready.run(family_of(DEFAULT_CHIP).virtual_npu(log.note), settings, work)
        log.close(done.kernel_log, ready.kernel.version)
        if done.status is None:
            raise DeviceError("the board's kernel died before the command ended; its last words are above")
        return done.status


class _TaskLog:
    """Counts tasks, and prints them where that was asked for."""

    def __init__(self, tasks: bool, registers: bool) -> None:
        self._tasks, self._registers = tasks or registers, registers
        self._counts: Counter[str] = Counter()

    def note(self, verdict: Verdict) -> None:
        from rocketnpu.inspect.recorded import room

        self._counts[verdict.outcome] += 1
        if self._tasks or verdict.outcome != "done" or verdict.defects:
            echo(f"board: {verdict}", err=True)
        if self._registers:
            for line in room(family_of(DEFAULT_CHIP).family).words(verdict.words):
                echo(f"  {line}", err=True)

    def close(self, kernel_log: str, version: str) -> None:
        from rocketnpu.board.kernel_log import complaints

        found = complaints(kernel_log)
        for line in found:
            echo(f"board: kernel: {line}", err=True)
        counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(self._counts.items())) or "none"
        echo(f"board: Linux {version}; tasks: {counts}; warnings of the kernel: {len(found)}", err=True)
        sys.stderr.flush()
