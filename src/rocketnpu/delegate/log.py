"""What the delegate tells people: failures always, everything else when it is asked to be verbose.

All of it goes to stderr, each line beginning with the package's name. The verbose output follows what users of the
original driver for TensorFlow Lite know: the tensor table, the operator table, and how long things took.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from rocketnpu.errors import RocketError
from rocketnpu.files.printable import printable
from rocketnpu.graph import Graph, Operator, Tensor

NAME = "rocketnpu"


def say(text: str) -> None:
    """Print lines to stderr, where there is one."""
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError, ValueError):
        lines = "\n".join(f"{NAME}: {line}" for line in text.splitlines())
        print(printable(lines), file=sys.stderr, flush=True)


def describe(error: BaseException) -> str:
    """Put an error into one line: ours as it is, anything else named as a fault of this package."""
    text = " ".join(str(error).split())
    if isinstance(error, RocketError):
        return text
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"internal fault, {type(error).__name__}{': ' + text if text else ''}"


@dataclass(frozen=True)
class Log:
    """Prints for one delegate."""

    verbose: bool

    def failure(self, where: str, error: BaseException) -> str:
        """Print why ``where`` failed, with the traceback if verbose, and return the line."""
        text = f"{where}: {describe(error)}"
        say(text)
        if self.verbose:
            say("".join(traceback.format_exception(error)))
        return text

    def detail(self, text: str) -> None:
        """Print if verbose."""
        if self.verbose:
            say(text)

    def graph(self, graph: Graph, reasons: Mapping[int, str]) -> None:
        """Print the tensor and the operator table if verbose. ``reasons`` tells why operators stay on the CPU."""
        if not self.verbose:
            return
        say(tensor_table(graph))
        say(operator_table(graph, reasons))


def tensor_table(graph: Graph) -> str:
    """Tabulate the tensors: number, scale, zero point, whether the model holds data, type, shape."""
    lines = [f"{'idx':>3} {'scale':>10} {'zp':>4} {'data':4} {'type':8} size", "=" * 60]
    return "\n".join(lines + [_tensor(tensor) for _, tensor in sorted(graph.tensors.items())])


def operator_table(graph: Graph, reasons: Mapping[int, str]) -> str:
    """Tabulate the operators: number, kind, where it runs, inputs and outputs, and the reason if it is the CPU."""
    lines = [f"{'idx':>3} {'type':24} {'support':11} inputs -> outputs", "=" * 60]
    return "\n".join(lines + [_operator(operator, reasons.get(operator.index, "")) for operator in graph.operators])


def _tensor(tensor: Tensor) -> str:
    scale = zero_point = "-"
    if tensor.quantisation is not None:
        channels = len(tensor.quantisation.scales)
        scale = f"{tensor.quantisation.scale:.6f}" if channels == 1 else f"{channels} ch"
        zero_point = str(tensor.quantisation.zero_point)
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    data = "yes" if tensor.is_constant else "no"
    return f"{tensor.index:3} {scale:>10} {zero_point:>4} {data:4} {tensor.dtype.value:8} {shape}"


def _operator(operator: Operator, reason: str) -> str:
    inputs = " ".join("-" if number is None else str(number) for number in operator.inputs)
    outputs = " ".join(map(str, operator.outputs))
    support = "unsupported" if reason else "supported"
    line = f"{operator.index:3} {operator.kind:24} {support:11} {inputs} -> {outputs}"
    return f"{line}\n{'':28} because {reason}" if reason else line
