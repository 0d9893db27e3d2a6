"""Models of converters' idioms, made from a seed: operators that graph passes turn into others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder

Quant = tuple[float, int]


class Idiom:
    """A model of one idiom under construction. All that varies comes from ``random``."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.builder = ModelBuilder()
        self.dtype = self.pick([DType.INT8, DType.INT8, DType.UINT8])
        self.quant: Quant = (float(np.float32(self.random.uniform(0.01, 0.1))), self.zero())
        self.inputs: list[int] = []

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[self.random.integers(len(choices))]

    def between(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def zero(self) -> int:
        limits = np.iinfo(self.dtype.value)
        return self.pick([limits.min, limits.min + 128, self.between(limits.min, limits.max)])

    def map(self, *shape: int, quant: Quant | None = None, dtype: DType | None = None) -> int:
        scale, zero = quant or self.quant
        return self.builder.tensor(shape, dtype or self.dtype, scale=scale, zero_point=zero)

    def given(self, *shape: int) -> int:
        self.inputs.append(self.map(*shape))
        return self.inputs[-1]

    def integers(self, values: object) -> int:
        array = np.asarray(values, np.int32)
        return self.builder.tensor(array.shape, DType.INT32, data=array)

    def op(self, kind: str, inputs: Sequence[int | None], output: int, attributes: Any = None) -> int:
        self.builder.operator(kind, inputs, [output], attributes or ops.NoAttributes())
        return output

    def weights(self, *shape: int, axis: int = 0) -> tuple[int, int, float]:
        """Add weights and bias; return them and the standard deviation of the real sums for noise."""
        signed = self.dtype is DType.INT8
        zero = 0 if signed else 128
        data = self.random.integers(-90, 91, shape) + zero
        taps = int(np.prod(shape)) // shape[axis]
        scale = 0.01 / np.sqrt(taps)
        count = shape[axis]
        scales = scale * 2.0 ** self.random.uniform(-1, 0, count) if signed else np.array([scale])
        number = self.builder.tensor(
            shape, self.dtype, scale=scales.astype(np.float32), zero_point=zero, axis=axis, data=data
        )
        bias = self.builder.tensor(
            (count,),
            DType.INT32,
            scale=(scales * self.quant[0]).astype(np.float32),
            data=self.random.integers(-500, 500, count),
        )
        return number, bias, float(scale * 52 * np.sqrt(taps) * 74 * self.quant[0])


def dilated(idiom: Idiom) -> int:
    rows, columns, channels = idiom.between(5, 14), idiom.between(5, 14), idiom.pick([3, 16, 20])
    block = (idiom.between(1, 4), idiom.between(2, 4))
    same = idiom.pick([True, False])
    kernel = (idiom.pick([1, 3]), 3)
    depthwise = idiom.pick([True, False])
    x = idiom.given(1, rows, columns, channels)
    reach = [(k - 1) * b for k, b in zip(kernel, block, strict=True)]
    before = [r // 2 if same else 0 for r in reach]
    total = [n + (r if same else 0) for n, r in zip((rows, columns), reach, strict=True)]
    fill = [-t % b for t, b in zip(total, block, strict=True)]
    edges = [(b, (r - b if same else 0) + f) for b, r, f in zip(before, reach, fill, strict=True)]
    inner = [(t + f) // b for t, f, b in zip(total, fill, block, strict=True)]
    out = [t - r for t, r in zip(total, reach, strict=True)]
    if min(i - k + 1 for i, k in zip(inner, kernel, strict=True)) < 1:
        return idiom.op("RELU", [x], idiom.map(1, rows, columns, channels))
    batches = block[0] * block[1]
    cells = idiom.op(
        "SPACE_TO_BATCH_ND", [x, idiom.integers(block), idiom.integers(edges)], idiom.map(batches, *inner, channels)
    )
    outputs = channels if depthwise else 8
    shape = (1, *kernel, channels) if depthwise else (outputs, *kernel, channels)
    weights, bias, spread = idiom.weights(*shape, axis=3 if depthwise else 0)
    quant = (5 * spread / 255, idiom.zero())
    size = [i - k + 1 for i, k in zip(inner, kernel, strict=True)]
    middle = idiom.map(batches, *size, outputs, quant=quant)
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    attributes = (ops.DepthwiseConv2D if depthwise else ops.Conv2D)((1, 1), Padding.VALID)
    idiom.op(kind, [cells, weights, bias], middle, attributes)
    crops = [(0, s * b - o) for s, b, o in zip(size, block, out, strict=True)]
    y = idiom.map(1, *out, outputs, quant=quant)
    return idiom.op("BATCH_TO_SPACE_ND", [middle, idiom.integers(block), idiom.integers(crops)], y)


def dilated_sound(idiom: Idiom) -> int:
    """A dilated convolution of sound: three dimensions, batches of it, and a map of one row for the convolution."""
    block, kernel, channels = idiom.between(2, 4), idiom.pick([3, 5, 9]), idiom.pick([3, 16])
    width = idiom.pick([idiom.between(30, 200), idiom.between(2048, 2300)])
    before = idiom.pick([0, (kernel - 1) * block])
    x = idiom.given(1, width, channels)
    total, out = width + before, width + before - (kernel - 1) * block
    fill = -total % block
    inner, size = (total + fill) // block, (total + fill) // block - kernel + 1
    edges = idiom.integers([(before, fill)])
    cells = idiom.op("SPACE_TO_BATCH_ND", [x, idiom.integers([block]), edges], idiom.map(block, inner, channels))
    seen = idiom.op(
        "RESHAPE", [cells, idiom.integers((block, 1, inner, channels))], idiom.map(block, 1, inner, channels)
    )
    weights, bias, spread = idiom.weights(8, 1, kernel, channels)
    quant = (5 * spread / 255, idiom.zero())
    made = idiom.map(block, 1, size, 8, quant=quant)
    idiom.op("CONV_2D", [seen, weights, bias], made, ops.Conv2D((1, 1), Padding.VALID))
    back = idiom.op("RESHAPE", [made, idiom.integers((block, size, 8))], idiom.map(block, size, 8, quant=quant))
    crops = idiom.integers([(0, size * block - out)])
    return idiom.op("BATCH_TO_SPACE_ND", [back, idiom.integers([block]), crops], idiom.map(1, out, 8, quant=quant))


def upsampled(idiom: Idiom) -> int:
    rows, columns, channels = idiom.between(1, 7), idiom.between(1, 7), idiom.pick([3, 16, 20])
    x, factor = idiom.given(1, rows, columns, channels), idiom.between(2, 3)
    if idiom.pick([True, False]):
        spread, times, grown = (
            (1, rows, 1, columns, channels),
            (1, 1, factor, 1, 1),
            (1, rows * factor, columns, channels),
        )
    else:
        spread, times, grown = (
            (1, rows, columns, 1, channels),
            (1, 1, 1, factor, 1),
            (1, rows, columns * factor, channels),
        )
    view = idiom.op("RESHAPE", [x, idiom.integers(spread)], idiom.map(*spread))
    repeated = [size * count for size, count in zip(spread, times, strict=True)]
    tiled = idiom.op("TILE", [view, idiom.integers(times)], idiom.map(*repeated))
    return idiom.op("RESHAPE", [tiled, idiom.integers(grown)], idiom.map(*grown))


def mirrored(idiom: Idiom) -> int:
    rows, columns, channels = idiom.between(3, 8), idiom.between(3, 8), idiom.pick([3, 16, 20])
    edges = [(0, 0), (idiom.between(0, 2), idiom.between(0, 2)), (idiom.between(0, 2), idiom.between(1, 2)), (0, 0)]
    x = idiom.given(1, rows, columns, channels)
    shape = [n + sum(edge) for n, edge in zip((1, rows, columns, channels), edges, strict=True)]
    attributes = ops.MirrorPad(idiom.pick([True, False]))
    return idiom.op("MIRROR_PAD", [x, idiom.integers(edges)], idiom.map(*shape), attributes)


def padded_pool(idiom: Idiom) -> int:
    rows, columns, channels = idiom.between(4, 11), idiom.between(4, 11), idiom.pick([3, 16, 20])
    kernel, stride = (idiom.between(2, 4), idiom.between(2, 4)), (idiom.between(1, 3), idiom.between(1, 3))
    edges = [(0, 0), *((idiom.between(0, k - 1), idiom.between(0, k - 1)) for k in kernel), (0, 0)]
    x, largest = idiom.given(1, rows, columns, channels), idiom.pick([True, False])
    shape = [n + sum(edge) for n, edge in zip((1, rows, columns, channels), edges, strict=True)]
    inputs = [x, idiom.integers(edges)]
    if largest and idiom.pick([True, False]):
        limits = np.iinfo(idiom.dtype.value)
        data = np.array([idiom.pick([limits.min, idiom.between(limits.min, limits.max)])])
        scale, zero = idiom.quant
        inputs.append(idiom.builder.tensor((1,), idiom.dtype, scale=scale, zero_point=zero, data=data))
    padded = idiom.op("PADV2" if len(inputs) == 3 else "PAD", inputs, idiom.map(*shape))
    size = [(n - k) // s + 1 for n, k, s in zip(shape[1:3], kernel, stride, strict=True)]
    activation = idiom.pick([Activation.NONE, Activation.NONE, Activation.RELU])
    attributes = ops.Pool2D(stride, Padding.VALID, kernel, activation)
    y = idiom.map(1, *size, channels)
    return idiom.op("MAX_POOL_2D" if largest else "AVERAGE_POOL_2D", [padded], y, attributes)


def focused(idiom: Idiom) -> int:
    rows, columns, channels = idiom.between(4, 9), idiom.between(4, 9), idiom.pick([3, 16])
    x = idiom.given(1, rows, columns, channels)
    steps = (idiom.between(1, 3), idiom.between(2, 3))
    begin = (idiom.between(0, 2), idiom.between(0, 2))
    end = (rows - idiom.between(0, 1), columns - idiom.between(0, 1))
    size = [len(range(b, e, s)) for b, e, s in zip(begin, end, steps, strict=True)]
    inputs = [x, idiom.integers((0, *begin, 0)), idiom.integers((0, *end, 0)), idiom.integers((1, *steps, 1))]
    attributes = ops.StridedSlice(begin_mask=9, end_mask=9)
    return idiom.op("STRIDED_SLICE", inputs, idiom.map(1, *size, channels), attributes)


def blocks(idiom: Idiom) -> int:
    block, rows, columns = idiom.between(2, 4), idiom.between(1, 4), idiom.between(1, 4)
    channels = idiom.pick([1, 3, 16])
    small, large = (1, rows, columns, channels * block * block), (1, rows * block, columns * block, channels)
    if idiom.pick([True, False]):
        return idiom.op("SPACE_TO_DEPTH", [idiom.given(*large)], idiom.map(*small), ops.Block(block))
    return idiom.op("DEPTH_TO_SPACE", [idiom.given(*small)], idiom.map(*large), ops.Block(block))


def gathered(idiom: Idiom) -> int:
    rows, columns, channels = idiom.between(1, 5), idiom.between(1, 5), idiom.pick([3, 16, 40])
    chosen = idiom.random.integers(0, channels, idiom.between(1, 40))
    x = idiom.given(1, rows, columns, channels)
    y = idiom.map(1, rows, columns, len(chosen))
    return idiom.op("GATHER", [x, idiom.integers(chosen)], y, ops.Gather(idiom.pick([3, -1])))


def shuffled(idiom: Idiom) -> int:
    rows, columns, groups, members = idiom.between(1, 5), idiom.between(1, 5), idiom.between(2, 4), idiom.between(2, 12)
    shape = (1, rows, columns, groups * members)
    x = idiom.given(*shape)
    cut = idiom.op(
        "RESHAPE",
        [x, idiom.integers((1, rows, columns, groups, members))],
        idiom.map(1, rows, columns, groups, members),
    )
    turned = idiom.op("TRANSPOSE", [cut, idiom.integers((0, 1, 2, 4, 3))], idiom.map(1, rows, columns, members, groups))
    return idiom.op("RESHAPE", [turned, idiom.integers(shape)], idiom.map(*shape))


def reduced(idiom: Idiom) -> int:
    kind = idiom.pick(["MEAN", "MEAN", "REDUCE_MAX"])
    shape = idiom.pick([(1, 7, 5, 16), (1, 9, 20), (6, 17), (1, 40, 33, 16), (1, 4, 4, 3)])
    axes = idiom.pick([[1], [-1], list(range(1, len(shape))), list(range(1, len(shape) - 1)) or [1]])
    keep = idiom.pick([True, False])
    gone = {axis % len(shape) for axis in axes}
    out = [1 if a in gone else n for a, n in enumerate(shape) if keep or a not in gone]
    quant = idiom.quant
    if kind == "MEAN":
        quant = (quant[0] * idiom.pick([1.0, 0.5]), quant[1])
    inputs = [idiom.given(*shape), idiom.integers(axes)]
    return idiom.op(kind, inputs, idiom.map(*out, quant=quant), ops.Reduce(keep))


def strided(idiom: Idiom) -> int:
    stride, channels = idiom.pick([8, 10, 12, 16]), idiom.pick([1, 3])
    rows, columns = (stride * idiom.between(1, 3) + idiom.between(0, 3) for _ in range(2))
    padding = idiom.pick([Padding.SAME, Padding.VALID])
    kernel = idiom.pick([stride, stride - 3, 3])
    if padding is Padding.VALID and min(rows, columns) < kernel:
        kernel = 3
    size = [-(-n // stride) if padding is Padding.SAME else (n - kernel) // stride + 1 for n in (rows, columns)]
    x = idiom.given(1, rows, columns, channels)
    if idiom.pick([True, False, False]):
        y = idiom.map(1, *size, channels)
        return idiom.op("AVERAGE_POOL_2D", [x], y, ops.Pool2D((stride, stride), padding, (kernel, kernel)))
    weights, bias, spread = idiom.weights(16, kernel, kernel, channels)
    y = idiom.map(1, *size, 16, quant=(5 * spread / 255, idiom.zero()))
    attributes = ops.Conv2D((stride, stride), padding, activation=idiom.pick([Activation.NONE, Activation.RELU]))
    return idiom.op("CONV_2D", [x, weights, bias], y, attributes)


def sounded(idiom: Idiom) -> int:
    """A map of one row: too wide for a task, or with a large stride or a long kernel."""
    wide = idiom.pick([True, True, False])
    width, channels = idiom.between(2048, 2600) if wide else idiom.between(60, 400), idiom.pick([1, 3, 16])
    rank = idiom.pick([3, 4, 4])
    x = idiom.given(*(1, 1, width, channels)[4 - rank :])
    kind = idiom.pick(["CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "pool", "RELU", "ADD", "PAD"])
    if rank == 3 and kind not in ("RELU", "ADD", "PAD"):
        x = idiom.op("RESHAPE", [x, idiom.integers((1, 1, width, channels))], idiom.map(1, 1, width, channels))
    shape = (1, 1, width, channels)[4 - rank :]
    if kind == "RELU":
        return idiom.op("RELU", [x], idiom.map(*shape))
    if kind == "ADD":
        other = idiom.pick([x, single(idiom, 1.0)])
        return idiom.op("ADD", [x, other], idiom.map(*shape, quant=(2 * idiom.quant[0], 5)), ops.Arithmetic())
    if kind == "PAD":
        edge = (idiom.between(0, 5), idiom.between(0, 5))
        edges = [(0, 0), (0, 0), edge, (0, 0)][4 - rank :]
        y = idiom.map(*(n + sum(pair) for n, pair in zip(shape, edges, strict=True)))
        return idiom.op("PAD", [x, idiom.integers(edges)], y)
    padding, stride = idiom.pick([Padding.SAME, Padding.VALID]), idiom.pick([1, 2, 3, 4, 8, 10, 11, 13, 16, 29])
    kernel = idiom.pick([1, 3, 5, stride, 2 * stride + 1, 40])
    size = -(-width // stride) if padding is Padding.SAME else (width - kernel) // stride + 1
    if kind == "pool":
        kernel, stride = min(kernel, 7), min(stride, 4)
        size = -(-width // stride) if padding is Padding.SAME else (width - kernel) // stride + 1
        attributes = ops.Pool2D((1, stride), padding, (1, kernel))
        return idiom.op(
            idiom.pick(["MAX_POOL_2D", "AVERAGE_POOL_2D"]), [x], idiom.map(1, 1, size, channels), attributes
        )
    depthwise = kind == "DEPTHWISE_CONV_2D"
    outputs = channels if depthwise else 8
    weights, bias, spread = idiom.weights(
        *((1, 1, kernel, channels) if depthwise else (outputs, 1, kernel, channels)), axis=3 if depthwise else 0
    )
    y = idiom.map(1, 1, size, outputs, quant=(5 * spread / 255, idiom.zero()))
    attributes = (ops.DepthwiseConv2D if depthwise else ops.Conv2D)((1, stride), padding)
    return idiom.op(kind, [x, weights, bias], y, attributes)


def single(idiom: Idiom, real: float) -> int:
    """Add a constant of one value."""
    scale = abs(real) / 100 or 1.0
    zero = 0 if idiom.dtype is DType.INT8 else 128
    data = np.array([round(real / scale) + zero])
    return idiom.builder.tensor((1,), idiom.dtype, scale=scale, zero_point=zero, data=data)


def chained(idiom: Idiom) -> int:
    idiom.quant = (8 / 255, 0 if idiom.dtype is DType.INT8 else 128)
    shape = (1, 16, 16, 4)
    x, low = idiom.given(*shape), np.iinfo(idiom.dtype.value).min
    quant = (float(np.float32(6 / 255)), low + 16)
    which = idiom.pick(["silu", "swish", "gelu", "floats"])
    if which == "silu":
        gate = idiom.op("LOGISTIC", [x], idiom.map(*shape, quant=(1 / 256, low)))
        inputs = idiom.pick([[x, gate], [gate, x]])
        return idiom.op("MUL", inputs, idiom.map(*shape, quant=quant), ops.Arithmetic())
    if which == "swish":
        more = idiom.op("ADD", [x, single(idiom, 3.0)], idiom.map(*shape, quant=(11 / 255, low + 20)), ops.Arithmetic())
        gate = idiom.op("RELU6", [more], idiom.map(*shape, quant=(6 / 255, low)))
        gated = idiom.op("MUL", [x, gate], idiom.map(*shape, quant=(26 / 255, low + 8)), ops.Arithmetic())
        return idiom.op("MUL", [gated, single(idiom, 1 / 6)], idiom.map(*shape, quant=quant), ops.Arithmetic())
    if which == "gelu":
        half = idiom.op("TANH", [x], idiom.map(*shape, quant=(1 / 128, low + 128)))
        more = idiom.op("ADD", [half, single(idiom, 1.0)], idiom.map(*shape, quant=(2 / 255, low)), ops.Arithmetic())
        both = idiom.op("MUL", [x, more], idiom.map(*shape, quant=(9 / 255, low + 10)), ops.Arithmetic())
        return idiom.op("MUL", [both, single(idiom, 0.5)], idiom.map(*shape, quant=quant), ops.Arithmetic())
    real = idiom.op("DEQUANTIZE", [x], idiom.builder.tensor(shape, DType.FLOAT32))
    for kind in idiom.pick([("ABS", "SQRT"), ("NEG", "EXP"), ("SQUARE",), ("ABS", "SQRT", "SIN")]):
        real = idiom.op(kind, [real], idiom.builder.tensor(shape, DType.FLOAT32))
    return idiom.op("QUANTIZE", [real], idiom.map(*shape, quant=quant))


IDIOMS: Mapping[str, tuple[Callable[[Idiom], int], int]] = {
    "dilated": (dilated, 1),
    "dilated_sound": (dilated_sound, 1),
    "upsampled": (upsampled, 0),
    "mirrored": (mirrored, 0),
    "padded_pool": (padded_pool, 1),
    "focused": (focused, 0),
    "blocks": (blocks, 0),
    "gathered": (gathered, 0),
    "shuffled": (shuffled, 0),
    "reduced": (reduced, 1),
    "strided": (strided, 1),
    "chained": (chained, 1),
    "sounded": (sounded, 1),
}
"""How each idiom is made, and its bound from the reference kernels."""


def idiom_model(name: str, seed: int) -> bytes:
    """Make the model of an idiom that belongs to a seed."""
    idiom = Idiom(seed)
    output = IDIOMS[name][0](idiom)
    return idiom.builder.build(idiom.inputs, [output])
