"""What an RK3588's processor would take for the same work: a published rate, not a calculation.

Two networks on an Orange Pi 5 Plus with LiteRT and eight threads (widetii/orangepi5plus-npu,
``benchmark/results/baseline/performance.json``): EfficientNet-Lite0 int8 13.0 ms for 385 M multiply-accumulates;
MobileNetV1 uint8 68.0 ms for 569 M, because XNNPACK does not take models of the older uint8 kind by default.
"""

from __future__ import annotations

from collections.abc import Iterable

from rocketnpu.graph import DType, Graph

SIGNED_MACS_PER_US = 385e6 / 13_007
"""Of int8 models, which XNNPACK runs."""
UNSIGNED_MACS_PER_US = 569e6 / 68_027
"""Of uint8 models, which the built-in kernels run."""


def cpu_us(graph: Graph, macs: Iterable[int]) -> float:
    """Return about how many microseconds all big cores take for operators of so many multiply-accumulates each."""
    unsigned = any(tensor.dtype is DType.UINT8 and not tensor.is_constant for tensor in graph.tensors.values())
    return sum(macs) / (UNSIGNED_MACS_PER_US if unsigned else SIGNED_MACS_PER_US)
