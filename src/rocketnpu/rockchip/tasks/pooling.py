"""Pooling layers as tasks of the pooling unit: rows cut to the unit's output slots, leftovers clipped."""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.errors import UnsupportedError
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import PoolingTask, Rows

MAX_SLOTS = 8191
"""Output pixels of one task (runs on RK3588; spec 6.4)."""
MAX_WINDOW = 16
"""Largest kernel and stride: 4-bit fields hold them minus one (TRM)."""
MAX_PADDING = 7
"""Largest padding on each side: 3-bit fields (TRM)."""


@dataclass(frozen=True, slots=True)
class PoolingLayer:
    """The maximum over windows, in stored (int8) values. Pairs are rows, columns."""

    operator: int
    label: str
    source: FeatureMap
    target: FeatureMap
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    """Rows above, columns to the left; what is needed below and to the right follows from the target's size."""
    pad_value: int
    rules: tuple[str, ...] = ()

    @property
    def unproven(self) -> tuple[str, ...]:
        """Names of the unproven hardware rules that it needs."""
        return self.rules


@dataclass(frozen=True, slots=True)
class Span:
    """What some windows along one axis read, and the padding that they see on either side."""

    first: int
    count: int
    before: int
    after: int


def window_span(size: int, kernel: int, stride: int, padding: int, first: int, count: int) -> Span:
    """Find what windows ``first .. first + count - 1`` read of an axis of ``size`` cells.

    The unit starves where cells are left over behind the last window (addendum 4.2), so just these cells are read.
    """
    low = first * stride - padding
    high = (first + count - 1) * stride - padding + kernel
    start, stop = max(low, 0), min(high, size)
    return Span(start, stop - start, start - low, high - stop)


def fits_unit(kernel: tuple[int, int], stride: tuple[int, int], spans: tuple[Span, Span]) -> str | None:
    """Say what the pooling unit's fields cannot hold, or return None."""
    if max(kernel) > MAX_WINDOW or max(stride) > MAX_WINDOW:
        return f"window {kernel[0]}x{kernel[1]} with stride {stride[0]}x{stride[1]}, at most {MAX_WINDOW} is possible"
    for span in spans:
        if max(span.before, span.after) > MAX_PADDING:
            return f"padding of {max(span.before, span.after)}, at most {MAX_PADDING} is possible"
    return None


def pooling_tasks(layer: PoolingLayer) -> list[PoolingTask]:
    """Turn a layer into tasks.

    Raises:
        UnsupportedError: a window, stride or padding is too large.
    """
    source, target = layer.source, layer.target
    across = window_span(source.width, layer.kernel[1], layer.stride[1], layer.padding[1], 0, target.width)
    # Tall maps: the rows that a task reads are counted by 13 bits.
    step = min(MAX_SLOTS // target.width, (MAX_SLOTS - MAX_WINDOW) // layer.stride[0])
    tasks = []
    for first in range(0, target.height, step):
        count = min(step, target.height - first)
        down = window_span(source.height, layer.kernel[0], layer.stride[0], layer.padding[0], first, count)
        failed = fits_unit(layer.kernel, layer.stride, (down, across))
        if failed is not None:
            raise UnsupportedError(failed)
        tasks.append(
            PoolingTask(
                layer.operator,
                f"{layer.label} rows {first}..{first + count - 1} of {target.height}x{target.width}x{target.channels}",
                Rows(source, down.first, down.count),
                across.count,
                layer.kernel,
                layer.stride,
                (down.before, across.before),
                (down.after, across.after),
                layer.pad_value,
                Rows(target, first, count),
                layer.rules,
            )
        )
    return tasks
