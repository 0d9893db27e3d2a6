"""Which jobs of a stream compute which operator of the recorded model.

A recording does not say. But a driver that compiles operators in their order starts one NN job for each convolution,
addition or fully connected layer, with TP jobs in front that bring its input into the order that it wants (facts 8).
So jobs are dealt out in order, and each pair is held against the operator's output size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rocketnpu.graph import Graph, Operator
from rocketnpu.verisilicon.streams.jobs import Job

CONVOLVED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB"})
"""Operators that end in an NN job."""
ADDED = frozenset({"ADD", "SUB"})
LOOKED_UP = frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "ABS", "LOGISTIC", "TANH", "LEAKY_RELU"})
"""Operators that are TP jobs with a table."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """An operator and its jobs."""

    operator: Operator
    jobs: tuple[Job, ...]
    """Empty where nothing is computed."""

    @property
    def nn(self) -> Job | None:
        """The job that convolves."""
        return next((job for job in self.jobs if job.unit == "NN"), None)


def part_operators(graph: Graph, outputs: Sequence[int], inputs: Sequence[int]) -> tuple[Operator, ...]:
    """Return the operators between a part's inputs and outputs, in the file's order."""
    given = set(inputs) | set(graph.inputs)
    wanted, chosen = list(outputs), set()
    while wanted:
        number = wanted.pop()
        operator = graph.producers.get(number)
        if operator is None or operator.index in chosen:
            continue
        chosen.add(operator.index)
        wanted += [read for read in operator.inputs if read is not None and read not in given]
    return tuple(operator for operator in graph.operators if operator.index in chosen)


def pair_jobs(graph: Graph, operators: Sequence[Operator], jobs: Sequence[Job]) -> tuple[list[Pair], tuple[Job, ...]]:
    """Deal jobs out to operators; return the pairs, and the jobs behind the last of them.

    Where jobs run short, operators get none; where a job's output has another size than its operator's, it and all
    that follow get none.
    """
    left = list(jobs)
    pairs = []
    for operator in operators:
        count = _count(operator, left)
        taken = tuple(left[:count])
        pair = Pair(operator, taken)
        if pair.nn is not None and not _fits(graph, pair):
            left, pair = [], Pair(operator, ())
        left = left[count:]
        pairs.append(pair)
    return pairs, tuple(left)


def _count(operator: Operator, left: Sequence[Job]) -> int:
    """Return how many of the jobs ahead belong to an operator."""
    if operator.kind in CONVOLVED:
        return next((number + 1 for number, job in enumerate(left) if job.unit == "NN"), 0)
    if operator.kind in LOOKED_UP:
        with_table = [job.tp is not None and job.tp.lookup is not None for job in left]
        if True not in with_table:
            return 0
        first = with_table.index(True)
        return first + next((n for n, found in enumerate(with_table[first:]) if not found), len(left) - first)
    if operator.kind in ("PAD", "PADV2"):
        return next((number for number, job in enumerate(left) if not _leaves_image(job)), len(left))
    return 0


def _leaves_image(job: Job) -> bool:
    scan = job.tp
    if scan is None:
        return False
    inside = scan.x0 >= 0 and scan.y0 >= 0 and scan.x1 < scan.columns and scan.y1 < scan.rows
    return not inside or bool(scan.planes_before or scan.planes_after)


def _fits(graph: Graph, pair: Pair) -> bool:
    config = pair.nn.nn if pair.nn is not None else None
    if config is None:
        return False
    size = config.shape.kernels * config.out_rows * config.out_columns
    return size == graph.tensors[pair.operator.outputs[0]].elements
