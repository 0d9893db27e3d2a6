"""Strides that the chip's fields do not hold: blocks of pixels become channels first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Activation, Block, Conv2D, NoAttributes, Operator, Padding, Pool2D
from rocketnpu.graph.passes.idioms.selecting import MOST_WEIGHTS, Making, is_map
from rocketnpu.graph.passes.rewrite import Accepts, anything, same_quantisation
from rocketnpu.graph.tensors import DType, Tensor

_STRIDES = range(1, 8)
"""Strides that every chip takes."""


def cut_strides(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Replace CONV_2D with a stride of 8 or more by SPACE_TO_DEPTH and a convolution of the blocks.

    A PAD makes whole blocks, and the windows begin with one; kernels are filled up with zeros and rearranged. The
    result is exactly the same. AVERAGE_POOL_2D with such a stride, whose windows do not reach over the border, becomes
    a convolution with kernels of ones first: at most 1 from the reference.
    """
    for operator in graph.operators:
        attributes = operator.attributes
        if operator.index in graph.problems or not isinstance(attributes, Conv2D | Pool2D):
            continue
        if max(attributes.stride) in _STRIDES or operator.kind not in ("CONV_2D", "AVERAGE_POOL_2D"):
            continue
        graph = _cut(graph, operator, accepts)
    return graph


def _cut(graph: Graph, operator: Operator, accepts: Accepts) -> Graph:
    source, target = graph.input_of(operator, 0), graph.tensors[operator.outputs[0]]
    if not is_map(source) or not is_map(target):
        return graph
    single = target.shape[1:3] == (1, 1) and isinstance(operator.attributes, Pool2D)
    if single:  # strides do not matter
        return graph
    making = Making(graph)
    found = _convolution(graph, making, operator)
    if found is None:
        return graph
    convolution, weights = found
    assert isinstance(convolution.attributes, Conv2D)
    attributes = convolution.attributes
    block = max((n for n in _STRIDES if all(stride % n == 0 for stride in attributes.stride)), default=1)
    if block == 1 or any(stride // block not in _STRIDES for stride in attributes.stride) or weights.data is None:
        return graph
    pads = _pads(source.shape, weights.shape, target.shape, attributes, block)
    if pads is None or (block * block * source.shape[3]) ** 2 > MOST_WEIGHTS:
        return graph
    current = _padded(making, source, pads)
    blocked = tuple(n // block for n in current.shape[1:3])
    cells = making.like(source, (1, *blocked, block * block * source.shape[3]))
    making.operator("SPACE_TO_DEPTH", (current.index,), (cells,), Block(block))
    kernels = making.add(_arranged(weights, block))
    stride = (attributes.stride[0] // block, attributes.stride[1] // block)
    smaller = Conv2D(stride, Padding.VALID, activation=attributes.activation)
    inputs = (cells, kernels, *convolution.inputs[2:])
    making.operator("CONV_2D", inputs, operator.outputs, smaller, operator.index)
    # SPACE_TO_DEPTH is judged once it is a convolution itself.
    return making.instead([operator], lambda candidate, made: made.kind == "SPACE_TO_DEPTH" or accepts(candidate, made))


def _convolution(graph: Graph, making: Making, operator: Operator) -> tuple[Operator, Tensor] | None:
    """Return an operator as a convolution, with its weights."""
    if operator.kind == "CONV_2D":
        weights, source = graph.input_of(operator, 1), graph.input_of(operator, 0)
        attributes = operator.attributes
        plain = isinstance(attributes, Conv2D) and attributes.dilation == (1, 1) and attributes.pads is None
        return (operator, weights) if plain and weights.shape[-1] == source.shape[3] else None
    source, pool = graph.input_of(operator, 0), operator.attributes
    target = graph.tensors[operator.outputs[0]]
    if not isinstance(pool, Pool2D) or pool.activation is not Activation.NONE or not same_quantisation(source, target):
        return None
    whole = all(
        (outputs - 1) * stride + size <= rows
        for outputs, stride, size, rows in zip(
            target.shape[1:3], pool.stride, pool.kernel, source.shape[1:3], strict=True
        )
    )
    if not whole or source.quantisation is None:
        return None
    channels, step = source.shape[3], 1 / (pool.kernel[0] * pool.kernel[1])
    eye = np.eye(channels, dtype=np.int8)[:, None, None, :]
    ones = np.broadcast_to(eye, (channels, *pool.kernel, channels)).copy().view(source.dtype.value)
    weights = making.tensors[making.reals(ones, step, source.dtype, "ones") - _first(making)]
    bias = making.reals(np.zeros(channels, np.int32), source.quantisation.scale * step, DType.INT32, "no bias")
    made = Conv2D(pool.stride, Padding.VALID)
    return replace(operator, kind="CONV_2D", inputs=(source.index, weights.index, bias), attributes=made), weights


def _first(making: Making) -> int:
    return making.tensors[0].index


def _pads(
    source: tuple[int, ...], kernel: tuple[int, ...], target: tuple[int, ...], attributes: Conv2D, block: int
) -> list[tuple[int, int]] | None:
    """Return what is added so that windows begin with a block and blocks are whole."""
    found = []
    for axis in range(2):
        size, stride, outputs = source[1 + axis], attributes.stride[axis], target[1 + axis]
        taps = -(-kernel[1 + axis] // block) * block
        before = 0
        if attributes.padding is Padding.SAME:
            before = max((outputs - 1) * stride + kernel[1 + axis] - size, 0) // 2
        needed = (outputs - 1) * stride + taps
        length = -(-max(needed, size) // block) * block
        # One more window would fit behind what is wanted.
        if (length - taps) // stride + 1 != outputs:
            return None
        found.append((before, length - before - size))
    return found


def _padded(making: Making, source: Tensor, pads: list[tuple[int, int]]) -> Tensor:
    if not any(map(any, pads)):
        return source
    shape = (1, *(n + sum(edge) for n, edge in zip(source.shape[1:3], pads, strict=True)), source.shape[3])
    number = making.like(source, shape)
    making.operator("PAD", (source.index, making.integers([(0, 0), *pads, (0, 0)])), (number,), NoAttributes())
    return replace(source, index=number, shape=shape)


def _arranged(weights: Tensor, block: int) -> Tensor:
    """Return kernels of blocks: filled up with zero points, pixels of a block side by side."""
    assert weights.data is not None
    assert weights.quantisation is not None
    kernels, rows, columns, channels = weights.shape
    height, width = -(-rows // block), -(-columns // block)
    zero = 0 if weights.quantisation.is_per_channel else weights.quantisation.zero_point
    full = np.full((kernels, height * block, width * block, channels), zero, weights.data.dtype)
    full[:, :rows, :columns] = weights.data
    cells = full.reshape(kernels, height, block, width, block, channels).transpose(0, 1, 3, 2, 4, 5)
    shape = (kernels, height, width, block * block * channels)
    return replace(weights, shape=shape, data=np.ascontiguousarray(cells).reshape(shape), name="kernels of blocks")
