"""How long a task keeps a core busy, in NPU clock cycles.

The estimate decides where jobs end, so it leans to the long side. Its form is the serial model that fits 170 measured
layers of three boards to 8 % and six networks to 7 % (timing 5): features are loaded, then the slowest of
multiplication, output stages, store and weight stream goes on. Rates are bytes and values per cycle and hold at any
clock, because the port to memory shares the clock (timing 5)::

    convolution = load / 11 + max(MAC, DPU, store / 6, weights / 11)
    DPU alone   = max(DPU, (load + store) / 11)
    pooling     = max(input values / 1.8, (load + store) / 11)
"""

from __future__ import annotations

from rocketnpu.rockchip.soc import ATOM, RK3588
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import ConvolutionTask, FlyingTask, PoolingTask, Task
from rocketnpu.rockchip.tasks.weights import aligned

PIXEL_BLOCK = 16
"""Output pixels of a task are computed in multiples of this (191 of 191 rows of the vendor's estimate; timing 4.1)."""
DPU_VALUES = 8
"""Values that the output stages finish in a cycle (the floor of the vendor's estimate; timing 4.1, 4.2)."""
LOOKUP_VALUES = 2
"""The same behind look-up tables (fit on 66 layers; timing 4.2)."""
READ_BYTES = 11
"""Bytes read in a cycle: 11 to 13 measured (timing 4.2)."""
WRITE_BYTES = 6
"""Bytes written in a cycle (fit; timing 4.2)."""
POOLED_VALUES = (9, 5)
"""Input values of the pooling unit in a cycle as a fraction, 1.8 (two public profiles; timing 4.2)."""
START = 8_000
"""Cycles from the end of a task to the start of the next at 200 MHz: the mainline kernel starts each by interrupt,
which takes 25 to 39 microseconds (timing 3)."""


def task_cycles(task: Task) -> int:
    """Estimate the cycles of a task, the kernel's start of it included."""
    if isinstance(task, ConvolutionTask):
        return START + _convolution(task)
    read = _bytes(task.source.feature, task.source.count)
    written = _bytes(task.target.feature, task.target.count)
    if isinstance(task, PoolingTask):
        values, cycles = POOLED_VALUES
        return START + max(read * cycles // values, (read + written) // READ_BYTES)
    return START + max(_output(task, written), (read + written + _operand(task)) // READ_BYTES)


def milliseconds(cycles: int, clock_hz: int) -> float:
    """Return how long so many cycles take."""
    return cycles / clock_hz * 1e3


def _convolution(task: ConvolutionTask) -> int:
    """MACs by the vendor's own formula, exact for 191 of 191 rows of its profiles (timing 4.1)."""
    channels = task.target.feature.channels
    pixels = aligned(task.target.count * task.target.feature.width, PIXEL_BLOCK)
    taps = task.kernel.size[0] * task.kernel.size[1]
    if task.weights.depthwise:
        blocks = -(-channels // RK3588.depthwise_group)
    else:
        lanes = -(-task.source.feature.channels // RK3588.weight_lanes)
        blocks = lanes * -(-channels // RK3588.kernel_group)
    load = _bytes(task.source.feature, task.source.count) + _operand(task)
    store = _bytes(task.target.feature, task.target.count)
    busy = max(
        pixels * taps * blocks,
        _output(task, pixels * aligned(channels, RK3588.kernel_group)),
        store // WRITE_BYTES,
        task.weights.bytes // READ_BYTES,
    )
    return load // READ_BYTES + busy


def _output(task: ConvolutionTask | FlyingTask, values: int) -> int:
    return values // (DPU_VALUES if task.output.lookup is None else LOOKUP_VALUES)


def _operand(task: ConvolutionTask | FlyingTask) -> int:
    stage = task.output.elementwise
    return _bytes(stage.operand.feature, stage.operand.count) if stage else 0


def _bytes(feature: FeatureMap, rows: int) -> int:
    return feature.surfaces * ATOM * rows * feature.width
