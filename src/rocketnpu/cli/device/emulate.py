"""``rocketnpu emulate``: run any program on an accel node that is not there."""

from __future__ import annotations

import os
import shutil
import signal

import click

from rocketnpu.cli.output import echo
from rocketnpu.closing import SIGNAL_STATUS
from rocketnpu.errors import DeviceError
from rocketnpu.files.printable import printable_line
from rocketnpu.policy import DEFAULT_CHIP

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FORWARDED = (*_ENDING, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT)
_FROM_A_PROCESS = 0
"""Largest ``si_code`` of a signal that some process sent; the kernel's, from a terminal, are larger."""
_CHANGED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these for itself; a program starts with their defaults."""
_POLL_SECONDS = 1.0
"""How long a child that ended unseen may stay so."""


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.option("-q", "--quiet", is_flag=True, help="Do not say on stderr which jobs the emulated kernel dropped.")
@click.option("--chip", default=DEFAULT_CHIP, show_default=True, metavar="NAME", help="The chip behind the node.")
@click.option("--print-environment", is_flag=True, help="Print the variables a program needs, and wait for Ctrl-C.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def emulate(command: tuple[str, ...], quiet: bool, chip: str, print_environment: bool) -> int:
    """Run COMMAND with an emulated device node whose NPU is the simulator.

    The node is /dev/accel/accel0 with the rocket driver for an RK3588, /dev/dri/renderD128 with the etnaviv driver for
    an A311D (--chip a311d) or an i.MX 8M Plus (--chip imx8mp).

    The program needs no change and no privilege; it must be dynamically linked. The exit status is the program's.
    """
    from rocketnpu.emulator import EmulatedNode, driver_of, shim_library

    if not command and not print_environment:
        raise click.UsageError("give a command after --, as in: rocketnpu emulate -- python3 program.py")
    if command and command[0].startswith("-") and shutil.which(command[0]) is None:
        given = printable_line(command[0])
        raise click.UsageError(
            f"emulate has no option {given}; options of emulate come before --, the command after it"
        )
    driver = driver_of(chip)
    library = shim_library()

    def report(line: str) -> None:
        if not quiet:
            echo(f"rocketnpu emulate: {line}", err=True)

    # Before any thread starts, so that none of them takes a signal that is waited for.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *_FORWARDED} if command else _ENDING)
    with EmulatedNode(report=report, driver=driver) as node:
        if print_environment:
            variables = {"LD_PRELOAD": node.preloadable(library)} | node.variables()
            for name, value in variables.items():
                echo(f"{name}={value}")
        if command:
            return _run(command, node.environment(library), before)
        signal.sigwait(_ENDING)
        return 0


def _run(command: tuple[str, ...], environment: dict[str, str], mask: set[int | signal.Signals]) -> int:
    """Run the program with only the signals of ``mask`` blocked, and hand on what others send to this process.

    What a terminal sends, it sends to the program as well.
    """
    try:
        # The mask changes in the program alone: a signal that comes while it starts must not end this process.
        program = os.posix_spawnp(command[0], command, environment, setsigmask=mask, setsigdef=_CHANGED_BY_PYTHON)
    except OSError as error:
        raise DeviceError(f"cannot run {command[0]}: {error.strerror}") from None
    while (ended := os.waitpid(program, os.WNOHANG))[0] == 0:
        arrived = signal.sigtimedwait({signal.SIGCHLD, *_FORWARDED}, _POLL_SECONDS)
        if arrived and arrived.si_signo != signal.SIGCHLD and arrived.si_code <= _FROM_A_PROCESS:
            os.kill(program, arrived.si_signo)
    status = os.waitstatus_to_exitcode(ended[1])
    return status if status >= 0 else SIGNAL_STATUS - status
