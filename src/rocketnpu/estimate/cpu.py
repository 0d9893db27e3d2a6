"""What a board's processor would take for the same work: a published or measured rate, not a calculation.

The published rates are those of two networks on an Orange Pi 5 Plus with LiteRT and eight threads
(widetii/orangepi5plus-npu, ``benchmark/results/baseline/performance.json``): EfficientNet-Lite0 int8 13.0 ms for 385 M
multiply-accumulates; MobileNetV1 uint8 68.0 ms for 569 M, because XNNPACK does not take models of the older uint8 kind
by default.
"""

from __future__ import annotations

from collections.abc import Iterable

from rocketnpu.graph import DType, Graph
from rocketnpu.partition.rates import PUBLISHED, Rates


def cpu_us(graph: Graph, macs: Iterable[int], rates: Rates = PUBLISHED) -> float:
    """Return about how many microseconds all cores take for operators of so many multiply-accumulates each."""
    return sum(macs) / (rates.unsigned if is_unsigned(graph) else rates.signed)


def is_unsigned(graph: Graph) -> bool:
    """Say whether a model's bytes are unsigned: the built-in kernels run it, and XNNPACK does not."""
    return any(tensor.dtype is DType.UINT8 and not tensor.is_constant for tensor in graph.tensors.values())
