"""Operators on single bytes by the look-up of the tensor processors: activations, requantisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, Operator, Tensor
from rocketnpu.verisilicon.lowering import stored
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.window import clamp_tasks
from rocketnpu.verisilicon.tasks.table import ByteTable, fit
from rocketnpu.verisilicon.tasks.task import Bytes, Int64, Lookup, Move, MoveKind, Planes, Task

CLAMPS = {name: Activation(name) for name in ("RELU", "RELU6", "RELU_N1_TO_1")}
"""Operators that are nothing but a clamp."""
MOST_STEPS = 1
"""How far a look-up may be from what is wanted."""


def byte_tasks(context: Context, operator: Operator) -> list[Task]:
    """Describe an operator that makes a byte of each byte.

    Raises:
        UnsupportedError: no table comes close enough.
    """
    source, target = context.tensor(operator, 0), context.output(operator)
    if operator.kind in BYTE_FUNCTIONS:
        found = BYTE_FUNCTIONS[operator.kind](operator, source, target) + stored.SHIFT[target.dtype]
        return lookup_tasks(context, operator, context.planes(source), context.planes(target), fit(found))
    return requantise_tasks(context, operator, source, target, CLAMPS.get(operator.kind, Activation.NONE))


def requantise_tasks(
    context: Context,
    operator: Operator,
    source: Tensor,
    target: Tensor,
    activation: Activation,
    place: Planes | None = None,
) -> list[Task]:
    """Describe another scale, and a clamp: one look-up for each bend beside the first.

    Args:
        context: of the compilation.
        operator: that it is done for.
        source: what is read.
        target: whose quantisation the results have.
        activation: a clamp.
        place: where they go, if not where ``target`` lies.

    Raises:
        UnsupportedError: no table comes close enough.
    """
    low, high = stored.clamp(activation, target)
    ratio = stored.scale(source) / stored.scale(target)
    reals = (np.arange(256) - stored.zero_point(source)) * ratio + stored.zero_point(target)
    result = context.planes(target) if place is None else place
    bent = np.maximum(reals, low) if low > 0 else reals
    table = fit(_rounded(bent), np.clip(bent, -_FAR, _FAR))
    cut: list[Bytes] = []
    if high < stored.BYTE_MAX:
        cut.append(np.minimum(np.arange(256), high).astype(np.uint8))
    middle = result if not cut else context.fresh(result.channels, result.height, result.width)
    first = lookup_tasks(context, operator, context.planes(source), middle, table)
    return [*first, *clamp_tasks(context, operator, middle, result, cut)]


_FAR = 1 << 14
"""Steps beyond every byte that a table's numbers hold with a step's fraction."""


def _rounded(reals: npt.NDArray[np.floating[Any]]) -> Int64:
    found: Int64 = np.clip(np.floor(reals + 0.5), 0, stored.BYTE_MAX).astype(np.int64)
    return found


def lookup_tasks(context: Context, operator: Operator, source: Planes, target: Planes, table: ByteTable) -> list[Task]:
    """Describe one look-up.

    Raises:
        UnsupportedError: the table is too far from what is wanted.
    """
    if table.error > MOST_STEPS:
        raise UnsupportedError(
            f"the best look-up table is off by up to {table.error} steps: between its entries it is straight"
        )
    lookup = Lookup(context.constants.add(table.content()), table.in_zero_point, table.out_zero_point)
    return [Move(MoveKind.LOOKUP, source, target, f"{operator.kind}: look-up", operator.index, lookup=lookup)]
