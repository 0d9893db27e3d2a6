"""Operators that pick values of a map: blocks of pixels, channels, the largest of all pixels."""

from __future__ import annotations

import numpy as np

from rocketnpu.graph.operators import Block, Gather, NoAttributes, Reduce
from rocketnpu.model.onnx.moving import axis_of, unclamped
from rocketnpu.model.onnx.step import NotTakenError, Step
from rocketnpu.model.onnx.values import scalars
from rocketnpu.model.onnx.windows import map_of, mapped
from rocketnpu.model.onnx.writer import Writer


def _block(step: Step) -> int:
    block = int(step.attributes.get("blocksize", 0))
    if not 1 <= block < 1 << 15:
        raise NotTakenError(f"blocks of {block}")
    return block


def depth_to_space(step: Step, out: Writer) -> None:
    """Write DepthToSpace as DEPTH_TO_SPACE; in mode CRD, which PyTorch's pixel shuffle is, GATHER sorts channels."""
    unclamped(step)
    features, layout = map_of(out, step.source(0))
    block, channels = _block(step), layout.shape[3]
    if channels % (block * block):
        raise NotTakenError(f"{channels} channels are no blocks of {block}x{block}")
    mode = step.attributes.get("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise NotTakenError(f"mode {mode}")
    if mode == "CRD":
        order = np.arange(channels).reshape(-1, block * block).T.reshape(-1)
        features = _sorted(out, features, order)
    rows, columns = (size * block for size in layout.shape[1:3])
    target = mapped(layout, (rows, columns), channels // (block * block))
    out.operator("DEPTH_TO_SPACE", [features], [out.result(step.targets[0], target)], Block(block))


def _sorted(out: Writer, features: int, order: np.ndarray) -> int:
    tensor = out.tensors[features]
    made = out.add(f"{tensor.name} sorted", tensor.shape, tensor.dtype, tensor.quantisation)
    out.operator("GATHER", [features, out.integers("channels", order.tolist())], [made], Gather(3))
    return made


def space_to_depth(step: Step, out: Writer) -> None:
    """Write SpaceToDepth as SPACE_TO_DEPTH."""
    unclamped(step)
    features, layout = map_of(out, step.source(0))
    block = _block(step)
    rows, columns = layout.shape[1:3]
    if rows % block or columns % block:
        raise NotTakenError(f"{rows}x{columns} pixels are no blocks of {block}x{block}")
    target = mapped(layout, (rows // block, columns // block), layout.shape[3] * block * block)
    out.operator("SPACE_TO_DEPTH", [features], [out.result(step.targets[0], target)], Block(block))


def gather(step: Step, out: Writer) -> None:
    """Write Gather of a map's channels, or of one of them, as GATHER."""
    unclamped(step)
    indices = step.constant(1)
    features, layout = map_of(out, step.source(0))
    if indices is None or indices.ndim != 1 or axis_of(step, len(layout.places), 0) != 1:
        raise NotTakenError("it picks something else than a list of channels")
    channels = layout.shape[3]
    chosen = [index + channels if index < 0 else index for index in scalars(indices)]
    if not chosen or not all(0 <= index < channels for index in chosen):
        raise NotTakenError(f"a channel of {channels} is outside")
    target = mapped(layout, (layout.shape[1], layout.shape[2]), len(chosen))
    result = out.result(step.targets[0], target)
    out.operator("GATHER", [features, out.integers("channels", chosen)], [result], Gather(3))


def global_maximum(step: Step, out: Writer) -> None:
    """Write GlobalMaxPool as REDUCE_MAX over rows and columns."""
    unclamped(step)
    features, layout = map_of(out, step.source(0))
    _largest(out, features, out.result(step.targets[0], mapped(layout, (1, 1), layout.shape[3])))


def maximum(step: Step, out: Writer) -> None:
    """Write ReduceMax of a map over rows and columns as REDUCE_MAX."""
    unclamped(step)
    features, layout = map_of(out, step.source(0))
    given = step.attributes.get("axes")
    found = step.constant(1) if given is None else np.asarray(given)
    rank = len(layout.places)
    axes = sorted({axis % rank for axis in scalars(found)}) if found is not None else []
    if axes != list(range(2, rank)):
        raise NotTakenError(f"the largest over axes {axes} of {rank}")
    target = mapped(layout, (1, 1), layout.shape[3])
    if step.attributes.get("keepdims", 1):
        _largest(out, features, out.result(step.targets[0], target))
        return
    final, tensor = step.targets[0], out.tensors[features]
    between = out.add(final.name, target.shape, tensor.dtype, tensor.quantisation)
    _largest(out, features, between)
    row = target.flattened(1, layout.shape[3])
    out.operator("RESHAPE", [between, out.integers("shape", row.shape)], [out.result(final, row)], NoAttributes())


def _largest(out: Writer, features: int, target: int) -> None:
    out.operator("REDUCE_MAX", [features, out.integers("axes", [1, 2])], [target], Reduce(keep_dims=True))
