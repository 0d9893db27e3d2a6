"""The command ``rocketnpu``: a table of verbs, each loaded only when it is used, and one way to fail."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

import click

from rocketnpu._version import __version__
from rocketnpu.cli.fault import fault_line
from rocketnpu.cli.output import echo, echo_text
from rocketnpu.closing import end_in_order
from rocketnpu.errors import RocketError

FAILED = 2
"""Exit status after a :class:`~rocketnpu.errors.RocketError`, a mistake on the command line, or where the output cannot
be written."""
INTERRUPTED = 130
BROKEN_PIPE = 1


@dataclass(frozen=True)
class Verb:
    """Where a verb's click command is (``module:attribute``), and its line in ``rocketnpu --help``."""

    target: str
    summary: str

    def load(self) -> click.Command:
        """Import the verb's module and return its command."""
        module, _, attribute = self.target.partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.target} is not a click command")
        return command


VERBS: dict[str, Verb] = {
    "classify": Verb("rocketnpu.cli.model.classify:classify", "Say what is in a picture, and how long it took."),
    "detect": Verb("rocketnpu.cli.vision.detect:detect", "Find things in pictures and videos."),
    "pose": Verb("rocketnpu.cli.vision.pose:pose", "Find people and their joints in pictures and videos."),
    "segment": Verb("rocketnpu.cli.vision.segment:segment", "Say which parts of pictures and videos are what."),
    "compile": Verb("rocketnpu.cli.model.compile:compile_command", "Compile a model to program files."),
    "inspect": Verb("rocketnpu.cli.model.inspect:inspect", "Show where each operator runs, why, and what it costs."),
    "benchmark": Verb("rocketnpu.cli.model.benchmark:benchmark", "Measure inferences, the estimate beside them."),
    "estimate": Verb(
        "rocketnpu.cli.model.estimate:estimate", "Say how long a model takes on a chip that need not be there."
    ),
    "compare": Verb("rocketnpu.cli.model.compare:compare", "Compare with LiteRT's reference kernels, layer by layer."),
    "disassemble": Verb("rocketnpu.cli.stream.disassemble:disassemble", "Print command lists, word by word."),
    "replay": Verb("rocketnpu.cli.stream.replay:replay", "Run a recording or a failure bundle on the simulator."),
    "evaluate": Verb(
        "rocketnpu.cli.vision.evaluate:evaluate", "Say how often a model is right, with and without the chip."
    ),
    "serve": Verb("rocketnpu.cli.device.serve:serve", "Serve models to other programs and computers."),
    "operators": Verb("rocketnpu.cli.model.operators:operators", "Print the rules by which the NPU takes an operator."),
    "evidence": Verb("rocketnpu.cli.stream.evidence:evidence", "Say what speaks for each hardware rule."),
    "models": Verb("rocketnpu.cli.model.models:models", "Get models by name, and say where they are."),
    "emulate": Verb("rocketnpu.cli.device.emulate:emulate", "Run a program on an emulated accel node."),
    "board": Verb("rocketnpu.cli.device.board:board", "Run a program on a virtual board, with the real kernel driver."),
    "doctor": Verb("rocketnpu.cli.device.doctor:doctor", "Say whether an NPU can be used, and if not, why."),
    "selftest": Verb("rocketnpu.cli.device.selftest:selftest", "Compare the device with the simulator, byte for byte."),
    "build-delegate": Verb(
        "rocketnpu.cli.device.build_delegate:build_delegate", "Build the shared library for TensorFlow Lite programs."
    ),
    "build-provider": Verb(
        "rocketnpu.cli.device.build_provider:build_provider_command",
        "Build the shared library for ONNX Runtime programs.",
    ),
}
"""The verbs in the order of ``--help``. A verb is a file in one of the rooms beside this one, and a line here."""


class VerbGroup(click.Group):
    """A click group that knows its verbs by :data:`VERBS` and imports none of them for ``--help``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module and return its command, or None if there is no such verb."""
        verb = VERBS.get(cmd_name)
        return verb.load() if verb else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs from the table alone."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])


@click.command(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rocketnpu")
def rocketnpu() -> None:
    """Compile, simulate and run TensorFlow Lite models for the NPU of the RK3588.

    Works without an NPU and without root; where the board has one, the same command uses it.
    """


@contextlib.contextmanager
def _terminated_in_order() -> Iterator[None]:
    """Have SIGTERM end the command as Ctrl-C does, so that what is open is closed: a device waits for its jobs.

    Only a command does so. The library and the delegate leave signals to their host.
    """
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, end_in_order)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    A verb may return an exit status of its own; None is 0. Errors of this package and of the system become one line on
    stderr, and so does an error that nobody foresaw, with a file of details. What the output's encoding lacks is
    written out.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:  # closed by who called
        with contextlib.redirect_stdout(_ClosedStream()):
            return _run(arguments)
    return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        with _terminated_in_order():
            result = rocketnpu.main(args=arguments, prog_name="rocketnpu", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        echo_text(shown.getvalue(), err=True)
        return error.exit_code
    except RocketError as error:
        return _fail(str(error) or type(error).__name__)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return BROKEN_PIPE
    except Exception as error:
        return _fail_to_write(error) if isinstance(error, OSError) else _fail(fault_line(error, arguments))
    return result if isinstance(result, int) else 0


class _ClosedStream(io.TextIOBase):
    """Stands for a stdout that is closed: whoever writes to it fails, as with any other file."""

    def write(self, text: str, /) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _fail(text: str) -> int:
    with contextlib.suppress(OSError):
        echo(f"rocketnpu: {' '.join(text.split())}", err=True)
    return FAILED


def _fail_to_write(error: OSError) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        return BROKEN_PIPE
    except OSError:
        _drop_stdout()
    what = "cannot write the output" if error.filename is None else str(error.filename)
    return _fail(f"{what}: {error.strerror or error}")


def _drop_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not complain on its way out."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def main() -> None:
    """Run the command line and leave with its exit status."""
    sys.exit(run())


if __name__ == "__main__":
    main()
