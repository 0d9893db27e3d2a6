"""A convolution over the batches that SPACE_TO_BATCH_ND made is a dilated convolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.operators import Conv2D, DepthwiseConv2D, NoAttributes, Operator, Padding, Pads
from rocketnpu.graph.passes.idioms.selecting import Making
from rocketnpu.graph.passes.idioms.single_rows import WIDEST
from rocketnpu.graph.passes.rewrite import Accepts, anything, only_reader, rewrite, same_quantisation
from rocketnpu.graph.tensors import Tensor

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_VIEWS = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")
_NONE = NoAttributes()


def dilate(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Replace SPACE_TO_BATCH_ND, a convolution of stride 1 and BATCH_TO_SPACE_ND by one convolution with a dilation.

    The paddings of both, less what is cropped, become the convolution's explicit padding with the zero point; where
    that is more than the chip's fields hold, a PAD comes before it. The result is exactly the same. Of sound, where the
    convolution sees its batches as maps of one row, the whole is seen so.
    """
    for joined in graph.operators:
        if joined.kind != "BATCH_TO_SPACE_ND":
            continue
        found = _as_row(graph, joined)
        if found is None:
            graph = _dilated(graph, joined, accepts)
            continue
        seen, inner = found
        # A wide row is judged once it is a column (single_rows).
        wide = seen.input_of(inner, 0).shape[2] * seen.input_of(inner, 0).shape[0] > WIDEST
        dilated = _dilated(seen, inner, anything if wide else accepts)
        graph = dilated if dilated is not seen else graph
    return graph


def _as_row(graph: Graph, joined: Operator) -> tuple[Graph, Operator] | None:
    """Return a graph in which batches of sound, ``(batch, columns, channels)``, are maps of one row all the way.

    Beside it stands what has taken the place of ``joined``. None where the operators before it are others.
    """
    chain = [joined]
    for kinds in (_VIEWS, _CONVOLUTIONS, _VIEWS, ("SPACE_TO_BATCH_ND",)):
        number = chain[0].inputs[0] or 0
        maker = graph.producers.get(number)
        if maker is None or maker.kind not in kinds or only_reader(graph, number) is None:
            return None
        chain.insert(0, maker)
    cut, view, convolution, back, _ = chain
    source, target = graph.input_of(cut, 0), graph.tensors[joined.outputs[0]]
    cells, middle = graph.input_of(convolution, 0), graph.tensors[convolution.outputs[0]]
    values = [_values(graph, operator, place) for operator in (cut, joined) for place in (1, 2)]
    if len(source.shape) != 3 or len(target.shape) != 3 or len(cells.shape) != 4 or len(middle.shape) != 4:
        return None
    if cells.shape[1] != 1 or middle.shape[1] != 1 or [None if v is None else len(v) for v in values] != [1, 2, 1, 2]:
        return None
    if not same_quantisation(graph.tensors[cut.outputs[0]], cells) or not same_quantisation(
        middle, graph.tensors[back.outputs[0]]
    ):
        return None
    making = Making(graph)
    row = making.like(source, (source.shape[0], 1, *source.shape[1:]))
    making.operator("RESHAPE", (source.index, making.integers((source.shape[0], 1, *source.shape[1:]))), (row,), _NONE)
    (block,), edge, _, crop = (value or [] for value in values)
    sizes = [making.integers(numbers) for numbers in ([1, block], [[0, 0], edge], [1, block], [[0, 0], crop])]
    making.operator("SPACE_TO_BATCH_ND", (row, *sizes[:2]), (cells.index,), cut.attributes)
    making.operators.append(convolution)
    made = making.like(target, (target.shape[0], 1, *target.shape[1:]))
    making.operator("BATCH_TO_SPACE_ND", (middle.index, *sizes[2:]), (made,), joined.attributes)
    inner = making.operators[-1]
    making.operator("RESHAPE", (made, making.integers(target.shape)), joined.outputs, _NONE, joined.index)
    changes = {operator.index: () for operator in (cut, view, convolution, back)}
    return rewrite(graph, {**changes, joined.index: tuple(making.operators)}, making.tensors), inner


def _dilated(graph: Graph, joined: Operator, accepts: Accepts) -> Graph:
    convolution = graph.producers.get(joined.inputs[0] or 0)
    if convolution is None or convolution.kind not in _CONVOLUTIONS:
        return graph
    cut, attributes = graph.producers.get(convolution.inputs[0] or 0), convolution.attributes
    if only_reader(graph, convolution.outputs[0]) is None or not isinstance(attributes, Conv2D | DepthwiseConv2D):
        return graph
    if cut is None or cut.kind != "SPACE_TO_BATCH_ND":
        return graph
    source, cells = graph.input_of(cut, 0), graph.tensors[cut.outputs[0]]
    middle, target = graph.tensors[convolution.outputs[0]], graph.tensors[joined.outputs[0]]
    one_scale = same_quantisation(source, cells) and same_quantisation(middle, target)
    plain = attributes.stride == (1, 1) and attributes.dilation == (1, 1) and attributes.pads is None
    pads = _pads(graph, (cut, convolution, joined))
    if not one_scale or not plain or pads is None:
        return graph
    # Several convolutions may read the same batches.
    gone = [cut] if only_reader(graph, cut.outputs[0]) is not None else []
    dilation = _blocks(graph, cut)
    wider = replace(attributes, dilation=dilation, padding=Padding.VALID, pads=pads if any(map(any, pads)) else None)
    made = replace(
        convolution, inputs=(source.index, *convolution.inputs[1:]), outputs=joined.outputs, attributes=wider
    )
    changes: dict[int, tuple[Operator, ...]] = {o.index: () for o in (*gone, convolution)}
    candidate = rewrite(graph, {**changes, joined.index: (made,)})
    if accepts(candidate, made):
        return candidate
    making = Making(graph)
    size = [n + sum(edge) for n, edge in zip(source.shape[1:3], pads, strict=True)]
    padded = making.like(source, (source.shape[0], *size, source.shape[3]))
    edges = making.integers([(0, 0), *pads, (0, 0)])
    making.operator("PAD", (source.index, edges), (padded,), NoAttributes())
    inputs = (padded, *convolution.inputs[1:])
    making.operator(convolution.kind, inputs, joined.outputs, replace(wider, pads=None), convolution.index)
    return making.instead([*gone, convolution, joined], accepts)


def _values(graph: Graph, operator: Operator, position: int) -> list[int] | None:
    data = graph.input_of(operator, position).data
    return None if data is None else [int(n) for n in np.ravel(data)]


def _blocks(graph: Graph, cut: Operator) -> tuple[int, int]:
    found = _values(graph, cut, 1) or [1, 1]
    return found[0], found[1]


def _pads(graph: Graph, operators: tuple[Operator, Operator, Operator]) -> Pads | None:
    """Return the padding of the whole, or None where it would be negative or the three do not fit together."""
    cut, convolution, joined = operators
    source, target = graph.input_of(cut, 0), graph.tensors[joined.outputs[0]]
    weights: Tensor = graph.input_of(convolution, 1)
    blocks, edges, crops = _values(graph, cut, 1), _values(graph, cut, 2), _values(graph, joined, 2)
    if blocks is None or edges is None or crops is None or len(blocks) != 2 or _values(graph, joined, 1) != blocks:
        return None
    if len(source.shape) != 4 or len(target.shape) != 4 or len(weights.shape) != 4:
        return None
    found = []
    same = getattr(convolution.attributes, "padding", None) is Padding.SAME
    for axis in range(2):
        reach = (weights.shape[1 + axis] - 1) * blocks[axis]
        inner = (weights.shape[1 + axis] - 1) // 2 * blocks[axis] if same else 0
        before = edges[2 * axis] + inner - crops[2 * axis]
        behind = target.shape[1 + axis] + reach - source.shape[1 + axis] - before
        if min(before, behind) < 0:
            return None
        found.append((before, behind))
    return found[0], found[1]
