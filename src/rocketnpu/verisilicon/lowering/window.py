"""Convolutions with windows: which of the hardware's ways does a stride, where clamps need a move behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Activation, Operator, Tensor
from rocketnpu.verisilicon.lowering import stored
from rocketnpu.verisilicon.lowering.context import Context
from rocketnpu.verisilicon.lowering.kernels import Kernel, dense, enlarged, quartered
from rocketnpu.verisilicon.tasks.scale import encode_scale
from rocketnpu.verisilicon.tasks.table import fit
from rocketnpu.verisilicon.tasks.task import Bytes, Convolution, Lookup, Move, MoveKind, Planes, Task

NARROWEST, NARROW = 3, 7
"""Widths from and to which the open driver cuts the image of a depthwise layer into quarters on generation 7, and up
to which (less one) that of a 1x1 layer on generation 8 (facts 8)."""


@dataclass(frozen=True, slots=True)
class Window:
    """How a window walks over its image. Pairs are rows, columns."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    """In front."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where results go, and how they are stored."""

    planes: Planes
    zero_point: int
    scale: float
    low: int
    high: int
    """Smallest and largest stored value."""

    @classmethod
    def of(cls, context: Context, tensor: Tensor, activation: Activation = Activation.NONE) -> Output:
        """Describe a tensor behind an activation.

        Raises:
            UnsupportedError: the activation is no clamp.
        """
        low, high = stored.clamp(activation, tensor)
        return cls(context.planes(tensor), stored.zero_point(tensor), stored.scale(tensor), low, high)


@dataclass(frozen=True, slots=True)
class Source:
    """An image and how it is stored."""

    planes: Planes
    zero_point: int
    scale: float

    @classmethod
    def of(cls, context: Context, tensor: Tensor) -> Source:
        """Describe a tensor."""
        return cls(context.planes(tensor), stored.zero_point(tensor), stored.scale(tensor))


def window_tasks(
    context: Context, operator: Operator, source: Source, kernel: Kernel, window: Window, output: Output
) -> list[Task]:
    """Describe a convolution of one scale as tasks.

    Raises:
        UnsupportedError: the hardware cannot express it.
    """
    planes, target = source.planes, output.planes
    step = _stride(window, target)
    pointwise = kernel.size == (1, 1)
    was_depthwise = kernel.depthwise
    native = kernel.depthwise and context.soc.generation == 8 and len(kernel.weights) == planes.channels
    if kernel.depthwise and not native:
        kernel = dense(kernel, planes.channels)
    tasks: list[Task] = []
    top, left = window.padding
    stride = step
    first = step == 2 and _keeps_first_pixel(
        context.soc.generation, planes, native, (was_depthwise, pointwise, any(window.padding))
    )
    if step == 2 and not first:
        kernel = quartered(kernel)
        tasks.append(_quarters(context, operator, source, kernel, window, target))
        planes, top, left, step = tasks[0].target, 0, 0, 1
    kernel = enlarged(kernel)
    clamps, relu = _clamps(context, operator, output)
    middle = target if not clamps else context.fresh(target.channels, target.height, target.width)
    tasks.append(
        Convolution(
            planes,
            middle,
            kernel.weights,
            kernel.zero_point,
            kernel.biases,
            source.zero_point,
            encode_scale(source.scale * kernel.scales[0] / output.scale, context.soc.generation),
            output.zero_point,
            f"{operator.kind} {kernel.size[0]}x{kernel.size[1]}, {planes.channels} to {target.channels} channels",
            operator.index,
            top=top,
            left=left,
            step=step,
            stride=stride,
            relu=relu,
            depthwise=native,
        )
    )
    return [*tasks, *clamp_tasks(context, operator, middle, target, clamps)]


def _stride(window: Window, target: Planes) -> int:
    """Return the stride, the same in both directions; one along which there is a single output does not count.

    Raises:
        UnsupportedError: it is not 1 or 2.
    """
    sizes = (target.height, target.width)
    steps = {stride for stride, size in zip(window.stride, sizes, strict=True) if size > 1}
    if steps - {1, 2} or len(steps) > 1:
        raise UnsupportedError(f"a stride of {window.stride[0]}x{window.stride[1]}: known are 1x1 and 2x2")
    return steps.pop() if steps else 1


def _keeps_first_pixel(generation: int, planes: Planes, native: bool, kind: tuple[bool, bool, bool]) -> bool:
    """Say whether a stride of 2 is done by keeping the first pixel of each 2x2, where the open driver does."""
    depthwise, pointwise, padded = kind
    if native:
        return True
    if generation == 7:
        return pointwise or (depthwise and not NARROWEST <= planes.width <= NARROW)
    return pointwise and planes.width >= NARROWEST and (planes.channels > 1 or padded)


def _quarters(
    context: Context, operator: Operator, source: Source, kernel: Kernel, window: Window, target: Planes
) -> Move:
    """Cut an image's planes into four each, by the parity of rows and columns from the first window on."""
    planes = source.planes
    height, width = (size + extent - 1 for size, extent in zip((target.height, target.width), kernel.size, strict=True))
    quarters = context.fresh(4 * planes.channels, height, width)
    label = f"{operator.kind}: {planes.channels} planes into four each"
    return Move(
        MoveKind.QUARTER,
        planes,
        quarters,
        label,
        operator.index,
        fill=source.zero_point,
        top=window.padding[0],
        left=window.padding[1],
    )


def _clamps(context: Context, operator: Operator, output: Output) -> tuple[list[Bytes], bool]:
    """Return the byte functions that clamp behind the NN cores, and whether these clamp at the zero point themselves.

    Each function bends once, at its zero point, where every table is exact.
    """
    del context, operator
    relu = output.low == output.zero_point
    functions = []
    every = np.arange(256)
    if output.low > 0 and not relu:
        functions.append(np.maximum(every, output.low).astype(np.uint8))
    if output.high < stored.BYTE_MAX:
        functions.append(np.minimum(every, output.high).astype(np.uint8))
    return functions, relu


def clamp_tasks(
    context: Context, operator: Operator, source: Planes, target: Planes, functions: list[Bytes]
) -> list[Task]:
    """Apply byte functions one after another, each by a look-up."""
    tasks: list[Task] = []
    for number, function in enumerate(functions):
        last = number + 1 == len(functions)
        result = target if last else context.fresh(target.channels, target.height, target.width)
        wanted = function.astype(np.int64)
        bends = np.flatnonzero(np.diff(np.diff(wanted))) + 1
        table = fit(wanted, centres=[*bends.tolist(), *range(256)])
        at = context.constants.add(table.content())
        lookup = Lookup(at, table.in_zero_point, table.out_zero_point)
        label = f"{operator.kind}: clamp to {int(wanted.min())}..{int(wanted.max())}"
        tasks.append(Move(MoveKind.LOOKUP, source, result, label, operator.index, lookup=lookup))
        source = result
    return tasks
