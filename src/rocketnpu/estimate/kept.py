"""What a benchmark on a board says of its rates: the processor's, alone with the model, and the NPU's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from rocketnpu.errors import InputError, ModelError
from rocketnpu.estimate.cpu import cpu_us, is_unsigned
from rocketnpu.estimate.estimate import Estimate
from rocketnpu.estimate.measured import SIMULATOR, Circumstances, Timings, measure
from rocketnpu.graph import Graph
from rocketnpu.graph.work import operator_macs
from rocketnpu.litert import require_litert
from rocketnpu.partition.rates import Rates, keep, local_rates, updated

_LEAST_MACS = 10_000_000
"""Multiply-accumulates of a network from which rates can be told: below, other costs prevail."""
_MIDDLE = 50


def check_worth(path: Path, graph: Graph, where: Circumstances, in_flight: int) -> None:
    """See that rates can be told from a benchmark.

    Raises:
        InputError: they cannot.
    """
    macs = sum(operator_macs(graph, operator) for operator in graph.operators)
    reason = ""
    if where.device == SIMULATOR:
        reason = "the simulator's times are no board's"
    elif in_flight != 1 or where.cores != 1:
        reason = "rates are those of one inference at a time on one core"
    elif path.suffix == ".onnx":
        reason = "the processor alone is measured by LiteRT, which takes TFLite files"
    elif macs < _LEAST_MACS:
        reason = f"{macs} multiply-accumulates are too few, at least {_LEAST_MACS} are needed"
    if reason:
        raise InputError(f"no rates are kept: {reason}")


def rates_of(
    graph: Graph, chip: str, npu: Timings, processor: Timings, estimated: Estimate, where: Circumstances
) -> Rates:
    """Return this board's rates with what was measured in their place.

    Args:
        graph: the model.
        chip: the board's.
        npu: times of inferences with the NPU.
        processor: times of inferences without it.
        estimated: what was estimated of the NPU's share.
        where: on what ``npu`` was measured.

    Raises:
        InputError: the figures are none that a board could have.
    """
    macs = sum(operator_macs(graph, operator) for operator in graph.operators)
    known, unsigned = local_rates(chip), is_unsigned(graph)
    rate = macs / (processor.percentile(_MIDDLE) * 1e3)
    alone = updated(known, unsigned=unsigned, processor=rate, npu=1.0, measured="x")
    left = cpu_us(graph, (operator.macs for operator in estimated.cpu), alone)
    factor = (npu.percentile(_MIDDLE) * 1e3 - left) / estimated.total_us
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    measured = f"{graph.name} on {where.device}, {where.clock}, {os.cpu_count()} processor cores, {today}"
    clean = "".join(letter if letter.isprintable() else "?" for letter in measured)
    return updated(known, unsigned=unsigned, processor=rate, npu=factor, measured=clean)


def processor_start(path: Path, inputs: Mapping[int, Any]) -> Callable[[], Callable[[], object]]:
    """Return what makes LiteRT ready, without the NPU and on all cores, as ``measure`` wants it.

    ``inputs`` are arrays by tensor number.

    Raises:
        UnsupportedError: LiteRT is not installed.
        ModelError: LiteRT refuses the model.
    """
    litert = require_litert()

    def start() -> Callable[[], object]:
        try:
            interpreter = litert.Interpreter(model_path=str(path), num_threads=os.cpu_count() or 1)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"LiteRT refuses the model: {' '.join(str(error).split())[:200]}") from None
        for number, values in inputs.items():
            interpreter.set_tensor(number, np.asarray(values, order="C"))
        run: Callable[[], object] = interpreter.invoke
        return run

    return start


def keep_rates(
    path: Path,
    chip: str,
    inputs: list[Any],
    runs: tuple[int, int],
    figures: tuple[Graph, Timings, Estimate, Circumstances],
) -> tuple[Rates, Path]:
    """Measure the processor alone, ``runs`` times after warming up, and keep this board's rates; return them and where.

    Raises:
        InputError: the figures are none that a board could have, or the rates cannot be written.
        UnsupportedError: LiteRT is not installed.
        ModelError: LiteRT refuses the model.
    """
    graph, npu, estimated, where = figures
    processor = measure(processor_start(path, dict(zip(graph.inputs, inputs, strict=True))), *runs)
    rates = rates_of(graph, chip, npu, processor, estimated, where)
    return rates, keep(chip, rates)
