"""Convolution layers as tasks: rows cut to the convolution buffer, kernels cut to kernel groups where they must be."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import UnsupportedError
from rocketnpu.program.constants import REGION as CONSTANTS
from rocketnpu.program.constants import ConstantPool, Location
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.cbuf import Share, check_row, data_banks, map_entries, shares
from rocketnpu.rockchip.tasks.choice import Alternative, alternatives, start_cycles
from rocketnpu.rockchip.tasks.cycles import ConvolutionShape
from rocketnpu.rockchip.tasks.feature import FeatureMap, is_packed
from rocketnpu.rockchip.tasks.requantise import CHANNEL_SHIFT
from rocketnpu.rockchip.tasks.task import (
    MEMORY,
    Banks,
    Conversion,
    ConvolutionTask,
    Elementwise,
    KernelShape,
    Lookup,
    Multiply,
    OutputStage,
    Rows,
    Stage,
    WeightBlock,
)
from rocketnpu.rockchip.tasks.tiling import Axis, Tile
from rocketnpu.rockchip.tasks.weights import (
    aligned,
    pack_biases,
    pack_convolution,
    pack_depthwise,
    pack_records,
    padded_channels,
)

Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Requantise:
    """Accumulator to output: ``saturate(round(clamp(U + lift) * multiplier / 2**shift) + offset)``.

    ``U`` is the accumulator with bias, per channel multiplied by ``channel_multipliers / 2**14`` where given.
    """

    conversion: Conversion
    channel_multipliers: Int64 | None = None
    relu: bool = False
    ceiling: int | None = None
    lift: int = 0
    """Added so that a ReLU clamps at another output than the zero point; ``offset`` then is that output."""
    slope_shift: int | None = None
    """Where given, ``channel_multipliers / 2**slope_shift`` is applied to negative values only (PRELU)."""
    room: int | None = None
    """Where given, ``U`` is clamped to ``0..room`` in BS, before anything is added."""


@dataclass(frozen=True, eq=False)
class ConvolutionLayer:
    """One convolution, whatever operator it came from, in stored (int8) values."""

    operator: int
    label: str
    source: FeatureMap
    target: FeatureMap
    weights: Int8
    """``(kernels, height, width, channels)``; depthwise ``(height, width, channels)``."""
    weight_zero_point: int
    biases: Int64
    """Of each output channel, the input's zero point already taken into account (spec 5.2)."""
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    """Rows above, columns to the left; what is needed below and to the right follows from the target's size."""
    pad_value: int
    requantise: Requantise
    addend: Elementwise | None = None
    """A feature map to be added before conversion; its rows are those of the whole target."""
    rules: tuple[str, ...] = ()
    lookup: Lookup | None = None
    """Tables through which the accumulator goes before conversion."""

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.weights.ndim == 3

    @property
    def unproven(self) -> tuple[str, ...]:
        """Names of the unproven hardware rules that it needs: its own, and those its numbers ask for."""
        requantise = self.requantise
        asked = {
            Unproven.CEILING: requantise.ceiling is not None or requantise.room is not None,
            Unproven.DILATION: self.dilation != (1, 1),
            Unproven.ELEMENTWISE_RELU: requantise.relu and self.addend is not None,
            Unproven.LIFT: requantise.lift != 0,
            Unproven.PACKED_PICTURE: self.source.slot < self.target.slot,
            # A single column is the row-major matrix product, exact on silicon (addendum 6.1).
            Unproven.SOURCE_GAP: self.source.line_gap != 0 and self.source.width > 1,
        }
        return (*self.rules, *(name for name, needed in asked.items() if needed))

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        height, width = self.weights.shape[-3:-1]
        return height, width

    def kernel_slice(self, first: int, count: int) -> ConvolutionLayer:
        """Cut out some output channels, of a depthwise layer input channels too. ``first`` is a multiple of 16."""
        if (first, count) == (0, self.target.channels):
            return self
        chosen = slice(first, first + count)
        requantise = self.requantise
        if requantise.channel_multipliers is not None:
            requantise = replace(requantise, channel_multipliers=requantise.channel_multipliers[chosen])
        addend = self.addend
        if addend is not None:
            feature = addend.operand.feature.channel_slice(first, count)
            addend = replace(addend, operand=replace(addend.operand, feature=feature))
        return replace(
            self,
            source=self.source.channel_slice(first, count) if self.depthwise else self.source,
            target=self.target.channel_slice(first, count),
            weights=self.weights[..., chosen] if self.depthwise else self.weights[chosen],
            biases=self.biases[chosen],
            requantise=requantise,
            addend=addend,
        )

    def row_slice(self, first: int, count: int) -> ConvolutionLayer:
        """Cut out some output rows, with the input rows that they need."""
        if (first, count) == (0, self.target.height):
            return self
        low, high = self.axis.span(first, count)
        addend = self.addend
        if addend is not None and not addend.per_channel:
            feature = addend.operand.feature.row_slice(first, count)
            addend = replace(addend, operand=Rows(feature, 0, count))
        return replace(
            self,
            source=self.source.row_slice(low, high - low + 1),
            target=self.target.row_slice(first, count),
            padding=(max(0, self.padding[0] - first * self.stride[0]), self.padding[1]),
            addend=addend,
        )

    @property
    def axis(self) -> Axis:
        """Its rows."""
        rows = self.source.height, self.target.height
        return Axis(*rows, self.window[0], self.stride[0], self.dilation[0], self.padding[0])


START = start_cycles("mainline")
"""Cycles that the start of a task costs where nobody says otherwise."""


def convolution_tasks(
    layer: ConvolutionLayer, constants: ConstantPool, soc: Soc, start: int = START
) -> list[ConvolutionTask]:
    """Turn a layer into tasks, putting its weights and biases into ``constants``; ``start`` cycles count for each.

    Raises:
        UnsupportedError: the layer does not fit the hardware's buffers or fields, with the value that does not.
    """
    tasks: list[ConvolutionTask] = []
    for cut in _cuts(layer, soc, start):
        weights = _packed_weights(cut.layer, constants, soc)
        tasks += _cut_tasks(cut, weights, _packed_operands(cut.layer, constants, soc), soc)
    return tasks


def outlined_tasks(layer: ConvolutionLayer, soc: Soc, start: int = START) -> list[ConvolutionTask]:
    """Turn a layer into tasks whose weights and operands are packed nowhere: all that may refuse a layer, but quick.

    Raises:
        UnsupportedError: as :func:`convolution_tasks`.
    """
    nowhere = Location(CONSTANTS)
    tasks: list[ConvolutionTask] = []
    for cut in _cuts(layer, soc, start):
        tasks += _cut_tasks(cut, _weight_block(cut.layer, nowhere, soc), nowhere, soc)
    return tasks


@dataclass(frozen=True, eq=False)
class _Cut:
    """Some kernels of a layer, with the rows of each task and their share of the buffer."""

    layer: ConvolutionLayer
    room: Share
    entries: int
    tiles: tuple[Tile, ...]


def _cuts(layer: ConvolutionLayer, soc: Soc, start: int) -> list[_Cut]:
    _check_accumulator(layer)
    if layer.depthwise:
        return _depthwise_cuts(layer, soc, start)
    return [_cut(part, soc, start) for part in _kernel_parts(layer, soc)]


def _cut(layer: ConvolutionLayer, soc: Soc, start: int) -> _Cut:
    check_row(layer.source.width, layer.source.channels, soc)
    best = _alternatives(layer, soc, start)[0]
    return _Cut(layer, best.room, map_entries(layer.source, soc), best.tiles)


def _alternatives(layer: ConvolutionLayer, soc: Soc, start: int) -> list[Alternative]:
    block = _weight_block(layer, Location(CONSTANTS), soc)
    rooms = shares(block.bytes, block.kernel_bytes * min(block.kernels, soc.kernel_group), layer.depthwise, soc)
    most = _most_rows(layer, soc)
    held = [(room, min(room.rows(layer.source, soc), most)) for room in rooms]
    return alternatives(_shape(layer, block, soc), layer.axis, held, start, soc)


def _most_rows(layer: ConvolutionLayer, soc: Soc) -> int:
    """Return how many input rows a task may have: as its fields hold, padding that comes out counted in."""
    if max(layer.source.height, layer.target.height) <= soc.max_size:
        return soc.max_size
    return soc.max_size - 2 * soc.max_padding


def explained(layer: ConvolutionLayer, soc: Soc, start: int = START) -> list[list[Alternative]]:
    """Return what was considered for each range of kernels of a layer, the one taken first.

    Raises:
        UnsupportedError: as :func:`convolution_tasks`.
    """
    return [_alternatives(cut.layer, soc, start) for cut in _cuts(layer, soc, start)]


def _shape(layer: ConvolutionLayer, block: WeightBlock, soc: Soc) -> ConvolutionShape:
    operand = 0 if layer.addend is None else output_channels(layer.target.channels, layer.depthwise, soc)
    each = layer.addend is not None and not layer.addend.per_channel
    return ConvolutionShape(
        layer.source,
        layer.target,
        layer.window[0] * layer.window[1],
        block,
        operand if each else 0,
        0 if each else operand,
        layer.lookup is not None,
    )


def _check_accumulator(layer: ConvolutionLayer) -> None:
    """Refuse a layer whose accumulator may leave 32 bits, for it would saturate silently."""
    axes = (0, 1) if layer.depthwise else (1, 2, 3)
    net = np.abs(layer.weights.astype(np.int32) - layer.weight_zero_point).sum(axes, dtype=np.int64)
    worst = int((net * 128).max(initial=0)) + int(np.abs(layer.biases).max(initial=0))
    if worst >= 1 << 31:
        raise UnsupportedError(f"the accumulator may reach {worst}, it has 32 bits")


def _depthwise_cuts(layer: ConvolutionLayer, soc: Soc, start: int) -> list[_Cut]:
    """Cut a depthwise layer into as few ranges of channels, multiples of 64, as the buffer asks for.

    All channels of a depthwise task are one kernel, and a single kernel must fit the weight banks: only kernel groups
    stream (spec 4.1, addendum 7.3). Ranges follow in ascending order, for writers fill whole groups of channels.

    Raises:
        UnsupportedError: not even 64 channels fit.
    """
    channels = layer.target.channels
    groups = -(-channels // soc.depthwise_group)
    for step in sorted({-(-groups // parts) * soc.depthwise_group for parts in range(1, groups + 1)}, reverse=True):
        try:
            ranges = ((first, min(step, channels - first)) for first in range(0, channels, step))
            return [_cut(layer.kernel_slice(*part), soc, start) for part in ranges]
        except UnsupportedError:
            if step == soc.depthwise_group:
                raise
    raise AssertionError("a layer without channels")


def _kernel_parts(layer: ConvolutionLayer, soc: Soc) -> list[ConvolutionLayer]:
    """Cut a dense layer into kernel groups of 16 where a full group would not fit the buffer beside the features."""
    kernels, height, width, channels = layer.weights.shape
    kernel_bytes = height * width * padded_channels(channels, soc)
    if kernel_bytes > soc.max_kernel_bytes:
        raise UnsupportedError(f"one kernel has {kernel_bytes} bytes, the register holds {soc.max_kernel_bytes}")
    room = (soc.cbuf_banks - 1) * soc.cbuf_bank_bytes
    step = kernels
    if kernel_bytes * min(kernels, soc.kernel_group) > room:
        step = soc.slot
    return [layer.kernel_slice(first, min(step, kernels - first)) for first in range(0, kernels, step)]


def _cut_tasks(cut: _Cut, weights: WeightBlock, operands: Location, soc: Soc) -> list[ConvolutionTask]:
    layer = cut.layer
    tasks = []
    for number, part in enumerate(cut.tiles):
        single = len(cut.tiles) == 1
        banks = data_banks(part.input_count, cut.entries, soc) if single else cut.room.data_banks
        kernel = KernelShape(
            layer.window, layer.stride, layer.dilation, part.pad_before, layer.padding[1], layer.pad_value
        )
        tasks.append(
            ConvolutionTask(
                layer.operator,
                _label(layer, part),
                Rows(layer.source, part.input_first, part.input_count),
                kernel,
                replace(weights, reuse=cut.room.reuse_weights and number > 0),
                Banks(banks, soc.cbuf_banks - banks, _programmed_entries(cut, part, soc)),
                -layer.weight_zero_point,
                _output_stage(layer, operands, part),
                Rows(layer.target, part.output_first, part.output_count),
                layer.unproven,
            )
        )
    return tasks


def _programmed_entries(cut: _Cut, part: Tile, soc: Soc) -> int:
    """Return DATA_ENTRIES: those of a row, or all pixels of packed rows (spec 3.3)."""
    return part.input_count * cut.layer.source.width if is_packed(cut.layer.source, soc) else cut.entries


def _label(layer: ConvolutionLayer, part: Tile) -> str:
    rows = f"rows {part.output_first}..{part.output_first + part.output_count - 1}"
    return f"{layer.label} {rows} of {layer.target.height}x{layer.target.width}x{layer.target.channels}"


def _weight_block(layer: ConvolutionLayer, at: Location, soc: Soc) -> WeightBlock:
    height, width = layer.window
    kernel_bytes = height * width * padded_channels(layer.weights.shape[-1], soc)
    # Mesa programs an even number of kernels, the last of zero bytes (spec 3.5).
    kernels = 1 if layer.depthwise else aligned(len(layer.weights), 2)
    return WeightBlock(at, kernels, kernel_bytes, layer.depthwise)


def _packed_weights(layer: ConvolutionLayer, constants: ConstantPool, soc: Soc) -> WeightBlock:
    weights, fill = layer.weights, layer.weight_zero_point
    if layer.depthwise:
        return _weight_block(layer, constants.add(pack_depthwise(weights, fill, soc)), soc)
    if len(weights) % 2:
        weights = np.concatenate([weights, np.zeros_like(weights[:1])])
    return _weight_block(layer, constants.add(pack_convolution(weights, fill, soc)), soc)


def output_channels(channels: int, depthwise: bool, soc: Soc) -> int:
    """Return output channels as DPU and DPU_RDMA are told: whole kernel groups (spec 6.1)."""
    return aligned(channels, soc.depthwise_group if depthwise else soc.kernel_group)


def _packed_operands(layer: ConvolutionLayer, constants: ConstantPool, soc: Soc) -> Location:
    channels = output_channels(layer.target.channels, layer.depthwise, soc)
    if layer.requantise.channel_multipliers is not None:
        return constants.add(pack_records(layer.biases, layer.requantise.channel_multipliers, channels, soc))
    return constants.add(pack_biases(layer.biases, channels))


def _output_stage(layer: ConvolutionLayer, operands: Location, part: Tile) -> OutputStage:
    requantise = layer.requantise
    multiply = None
    if requantise.channel_multipliers is not None:
        multiply = Multiply(MEMORY, CHANNEL_SHIFT if requantise.slope_shift is None else requantise.slope_shift)
    addend = layer.addend
    lift = requantise.lift or None
    bn = Stage(add=lift, relu=requantise.relu, ceiling=requantise.ceiling)
    if addend is not None:
        rows = addend.operand
        if not addend.per_channel:
            rows = Rows(rows.feature, part.output_first, part.output_count)
        # Behind an addition the clamp belongs behind the sum, so EW does it.
        addend = replace(addend, operand=rows, relu=requantise.relu, ceiling=requantise.ceiling)
        bn = Stage(add=lift)
    room = requantise.room
    bs = Stage(MEMORY, multiply, relu=room is not None, ceiling=room, prelu=requantise.slope_shift is not None)
    return OutputStage(bs, bn, addend, requantise.conversion, operands, layer.lookup)
