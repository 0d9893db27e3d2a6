"""Defects of stock Mesa 26.2.6's streams that can be seen in a stream beside its model (facts 9).

Each is a fact about a stream, not about the chip: the simulator computes what the stream says. A defect is a function
of what one NN job holds and what its operator means; its docstring is what is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import SimulationError
from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.operators import DepthwiseConv2D
from rocketnpu.graph.tensors import DType, Tensor
from rocketnpu.verisilicon.coefficients.kernels import Bytes, Kernels
from rocketnpu.verisilicon.coefficients.zero_runs import read_zero_runs
from rocketnpu.verisilicon.simulator.nn_config import NnConfig
from rocketnpu.verisilicon.streams.machine import stored
from rocketnpu.verisilicon.streams.pairing import ADDED, Pair


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """An NN job beside the operator that it computes."""

    graph: Graph
    pair: Pair
    config: NnConfig
    kernels: Kernels
    data: Bytes
    """The job's coefficients as bytes."""
    generation: int
    made: frozenset[int]
    """Tensors that jobs of the same part make before."""
    planes_at: frozenset[int]
    """Addresses of maps that earlier NN jobs of the part wrote."""

    @property
    def operator(self) -> Operator:
        """What it computes."""
        return self.pair.operator

    @property
    def source(self) -> Tensor:
        """The operator's first input."""
        return self.graph.input_of(self.operator, 0)

    @property
    def weights(self) -> Bytes | None:
        """The model's weights in the order of their channels, ``(kernels, channels, rows, columns)``, as stored.

        None where the operator has none, or more than one for each channel of a depthwise kernel.
        """
        number = self.operator.input(1)
        tensor = None if number is None else self.graph.tensors[number]
        if tensor is None or tensor.data is None or tensor.dtype not in (DType.UINT8, DType.INT8):
            return None
        values: npt.NDArray[np.generic] = np.asarray(tensor.data)
        if self.operator.kind == "FULLY_CONNECTED":
            return stored(values).reshape(values.shape[0], -1, 1, 1)
        moved = (
            values.transpose(3, 0, 1, 2) if self.operator.kind == "DEPTHWISE_CONV_2D" else values.transpose(0, 3, 1, 2)
        )
        return stored(moved).reshape(moved.shape)

    @property
    def in_order(self) -> Bytes:
        """The job's kernels in the order of their output channels."""
        return _ordered(self.kernels, self.config, self.generation)


def _ordered(kernels: Kernels, config: NnConfig, generation: int) -> Bytes:
    channels = kernels.places // (max(config.out_plane, 1) if generation == 7 else 1)
    kept = np.flatnonzero(channels < config.shape.kernels)
    return kernels.weights[kept[np.argsort(channels[kept], kind="stable")]]


def odd_window(job: Convolution) -> str:
    """The window begins elsewhere than SAME padding asks for (facts 9.4, 9.5)."""
    config, found = job.config, []
    for axis, offset, size, image, kernel in (
        ("x", config.offset_x, config.out_columns, config.in_columns, config.shape.columns),
        ("y", config.offset_y, config.out_rows, config.in_rows, config.shape.rows),
    ):
        missing = (size - 1) * config.step + kernel - image
        if offset <= 0 < missing and offset != -(missing // 2):
            found.append(f"in {axis} at {offset} instead of {-(missing // 2)}")
    return f"the window of {config.shape.columns}x{config.shape.rows} begins {' and '.join(found)}" if found else ""


def depth_multiplier(job: Convolution) -> str:
    """A depth multiplier is taken for none (facts 9.8)."""
    attributes = job.operator.attributes
    if isinstance(attributes, DepthwiseConv2D) and attributes.depth_multiplier != 1:
        return f"a depth multiplier of {attributes.depth_multiplier} is not expressed"
    return ""


def raw_signs(job: Convolution) -> str:
    """INT8 weights are written as they are, while the zero point is that of weights lifted by 128 (facts 9.3)."""
    wanted = job.weights
    tensor = job.source
    if wanted is None or tensor.dtype is not DType.INT8 or job.operator.kind in ADDED:
        return ""
    return "INT8 weights are not lifted by 128" if _same(job.in_order, wanted ^ np.uint8(0x80), job) else ""


def other_order(job: Convolution) -> str:
    """Weights lie in another order than the core reads: pairs of rows, blocks of six (facts 5, 9.1, 9.7)."""
    wanted, shape = job.weights, job.config.shape
    if job.generation != 7 or wanted is None or _same(job.in_order, wanted, job):
        return ""
    orders = {
        "kernel after kernel, in memory order": shape.weights,
        "channel by channel": 1 if shape.is_pointwise else None,
        "in memory order within each channel": shape.rows * shape.columns,
    }
    for name, chunk in orders.items():
        if chunk is not None and _written_so(job, chunk, wanted):
            own = "blocks of six channels" if shape.is_pointwise else "pairs of rows, three columns first"
            return f"kernels of {shape.columns}x{shape.rows} are written {name}, the core reads {own}"
    return ""


def _written_so(job: Convolution, chunk: int, wanted: Bytes) -> bool:
    """Say whether a job's coefficients are the model's weights when so many of a kernel lie together."""
    try:
        found = read_zero_runs(job.data, job.config.shape, chunk=chunk)
    except SimulationError:
        return False
    weights = _ordered(found, job.config, job.generation)
    return weights.size == wanted.size and np.array_equal(weights.ravel(), wanted.ravel())


def unshuffled(job: Convolution) -> str:
    """A kernel made for an image that is split into four is given the whole one (facts 9.6)."""
    shape, source = job.config.shape, job.source.shape
    if job.operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D") or shape.depthwise or len(source) != 4:
        return ""
    split = shape.channels == 4 * source[3] and shape.channels > 4
    if split and not any(tile.tp is not None and tile.tp.tile_columns > 1 for tile in job.pair.jobs):
        return f"kernels of {shape.channels} channels: those of an image split into four, which it is not"
    return ""


def padded_twice(job: Convolution) -> str:
    """An image is padded while it is split into four, and the window pads again (published as wrong on an A311D)."""
    config, source = job.config, job.source.shape
    split = len(source) == 4 and config.in_planes == 4 * source[3]
    shuffled = any(tile.tp is not None and tile.tp.tile_columns > 1 for tile in job.pair.jobs)
    if not (split and shuffled and (config.offset_x or config.offset_y)):
        return ""
    return f"the image is padded while it is split into four, and its window begins at {config.offset_x} once more"


def mixed_layouts(job: Convolution) -> str:
    """An addition of a map in planes and one that the host gave pixel by pixel."""
    made = [number in job.made for number in job.operator.inputs[:2]] if job.operator.kind in ADDED else []
    if len(set(made)) < 2 or job.pair.jobs[0].unit != "NN" or job.source.shape[-1] == 1:
        return ""
    return f"operand {made.index(False)} lies pixel by pixel as the host gave it, the other in planes"


def transposed_twice(job: Convolution) -> str:
    """A map that a job wrote in planes is transposed as if the host had given it pixel by pixel."""
    again = (
        tile.tp is not None and tile.tp.in_address in job.planes_at and tile.tp.tile_columns == 1 and tile.tp.rows > 1
        for tile in job.pair.jobs
    )
    return "its input is transposed, but lies in planes already" if any(again) else ""


def no_subtraction(job: Convolution) -> str:
    """A subtraction on generation 7, for which no stream is known (facts 8)."""
    if job.generation == 7 and job.operator.kind == "SUB":
        return "a subtraction: streams for it are known on generation 8 only"
    return ""


def addition_bias(job: Convolution) -> str:
    """The constant of an addition is not the one that its zero points ask for (facts 9.2)."""
    if job.generation != 7 or job.operator.kind != "ADD":
        return ""
    zero_points = [_stored_zero_point(job.graph.input_of(job.operator, position)) for position in (0, 1)]
    channels = job.kernels.weights[0].astype(np.int64).sum(axis=(1, 2))
    wanted = -int(np.dot(channels[:2], zero_points[: len(channels[:2])]))
    bias = int(job.kernels.biases[0])
    return f"the constant of the addition is {bias}, its zero points ask for {wanted}" if bias != wanted else ""


DEFECTS: tuple[Callable[[Convolution], str], ...] = (
    odd_window,
    depth_multiplier,
    raw_signs,
    other_order,
    unshuffled,
    padded_twice,
    mixed_layouts,
    transposed_twice,
    addition_bias,
    no_subtraction,
)


def defects_of(graph: Graph, pairs: Sequence[Pair], generation: int) -> list[tuple[str, ...]]:
    """Name the defects of each operator's stream; ``pairs`` are all of one part, in order."""
    made: set[int] = set()
    planes: set[int] = set()
    found: list[tuple[str, ...]] = []
    for pair in pairs:
        job = pair.nn
        if job is None or job.nn is None or job.kernels is None or job.coefficients is None:
            found.append(())
        else:
            seen = frozenset(made), frozenset(planes)
            convolution = Convolution(graph, pair, job.nn, job.kernels, job.coefficients, generation, *seen)
            found.append(tuple(filter(None, (defect(convolution) for defect in DEFECTS))))
            planes.add(job.nn.out_address)
        made |= set(pair.operator.outputs)
    return found


def _stored_zero_point(tensor: Tensor) -> int:
    zero_point = tensor.quantisation.zero_point if tensor.quantisation is not None else 0
    return zero_point + 128 if tensor.dtype is DType.INT8 else zero_point


def _same(found: Bytes, wanted: Bytes, job: Convolution) -> bool:
    """Say whether a job's kernels are these, dense where a depthwise operator is done by a dense convolution."""
    if job.operator.kind == "DEPTHWISE_CONV_2D" and not job.config.shape.depthwise:
        if found.shape[:2] != (len(wanted), len(wanted)):
            return False
        found = found[np.arange(len(wanted)), np.arange(len(wanted))][:, None]
    return found.shape == wanted.shape and np.array_equal(found, wanted)
