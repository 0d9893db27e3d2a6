"""Shapes of networks whose times were published, a layer a line, and what one layer costs.

They are shapes only: enough to time a network, at hand or not. Tiles are cut as the vendor's runtime is known to:
weights in as many banks as they fill, features in the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from rocketnpu.graph import DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.cbuf import data_banks, row_entries
from rocketnpu.rockchip.timing.work import Kind, Work, multiply_cycles


@dataclass(frozen=True)
class Layer:
    """One convolution, or a concatenation."""

    ic: int
    ih: int
    iw: int
    oc: int
    kh: int
    kw: int
    stride: int
    oh: int
    ow: int
    depthwise: bool = False
    half: bool = False
    """Whether values have 16 bits."""
    lookup: bool = False
    added: bool = False
    """Whether a map is added behind it."""
    joins: bool = False
    """Whether it is a concatenation: the vendor's runtime mostly writes in place."""

    @property
    def size(self) -> int:
        """Bytes of a value."""
        return 2 if self.half else 1

    @property
    def weight_bytes(self) -> int:
        """Bytes of all kernels."""
        return self.kh * self.kw * self.oc * (1 if self.depthwise else _up(self.ic, 16)) * self.size

    @property
    def output_bytes(self) -> int:
        """Bytes written."""
        return self.oh * self.ow * _up(self.oc * self.size, 16)

    def tiles(self) -> tuple[Work, ...]:
        """Cut it, and return each tile's work."""
        return _tiles(self)


@cache
def _tiles(layer: Layer) -> tuple[Work, ...]:
    entries = row_entries(layer.iw, layer.ic * layer.size, RK3588)
    banks = -(-layer.weight_bytes // RK3588.cbuf_bank_bytes)
    room = RK3588.cbuf_banks - min(banks, 5)
    image = layer.ic <= 4
    if image:  # read packed, four lanes a pixel in the buffer
        entries = -(-layer.iw * 4 * layer.size // RK3588.cbuf_entry_bytes)
    rows = layer.ih
    if data_banks(layer.ih, entries, RK3588) > room:
        rows = max(room * RK3588.cbuf_bank_entries // entries, layer.kh)
    per_tile = max((rows - layer.kh) // layer.stride + 1, 1) if rows < layer.ih else layer.oh
    return tuple(_work(layer, count, first == 0 or banks > 5, image) for first, count in _cuts(layer.oh, per_tile))


def _cuts(total: int, step: int) -> Iterator[tuple[int, int]]:
    for first in range(0, total, step):
        yield first, min(step, total - first)


def _work(layer: Layer, rows: int, fetches: bool, image: bool) -> Work:
    group = 16 if layer.half else 32
    taken = min((rows - 1) * layer.stride + layer.kh, layer.ih)
    line = layer.iw * (layer.ic * layer.size if image else _up(layer.ic * layer.size, 16))
    taps, pixels = layer.kh * layer.kw, rows * layer.ow
    if layer.depthwise:
        blocks, first = -(-layer.oc // 64), taps * min(_up(layer.oc, 16), 64) * layer.size
    else:
        blocks = -(-layer.ic // 32) * -(-layer.oc // group)
        first = taps * _up(layer.ic, 16) * min(layer.oc, group) * layer.size
    stored = pixels * _up(layer.oc * layer.size, 16)
    return Work(
        Kind.CONVOLUTION,
        features=taken * line,
        operand=stored if layer.added else 0,
        first_weights=first if fetches else 0,
        weights=max(layer.weight_bytes - first, 0) if fetches else 0,
        multiply=multiply_cycles(pixels, taps, blocks),
        values=_up(pixels, 16) * _up(layer.oc, 32),
        lookup=layer.lookup,
        stored=stored,
    )


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


@dataclass(frozen=True)
class Network:
    """A network with the milliseconds that were published for one core at 1 GHz, None where none were."""

    layers: tuple[Layer, ...]
    measured_ms: float | None
    source: str


class _Stack:
    """Grows a network from its input on."""

    def __init__(self, size: int, lookup: bool = False) -> None:
        self.size, self.channels, self.lookup = size, 3, lookup
        self.layers: list[Layer] = []

    def conv(
        self, oc: int, k: int = 1, s: int = 1, *, depthwise: bool = False, added: bool = False, last: bool = False
    ):
        out = -(-self.size // s)
        lookup = self.lookup and not last
        self.layers.append(
            Layer(self.channels, self.size, self.size, oc, k, k, s, out, out, depthwise, lookup=lookup, added=added)
        )
        self.size, self.channels = out, oc
        return self

    def join(self, channels: int):
        size = self.size
        self.layers.append(Layer(channels, size, size, channels, 0, 0, 1, size, size, joins=True))
        self.channels = channels
        return self

    def dense(self, oc: int):
        self.layers.append(Layer(self.channels, 1, 1, oc, 1, 1, 1, 1, 1))
        return self


def mobilenet_v1() -> tuple[Layer, ...]:
    """MobileNetV1 1.0 224."""
    net = _Stack(224).conv(32, 3, 2)
    for oc, s in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)):
        net.conv(net.channels, 3, s, depthwise=True).conv(oc)
    return tuple(net.conv(1024, 7, 7, depthwise=True).dense(1001).layers)


def mobilenet_v2() -> tuple[Layer, ...]:
    """MobileNetV2 1.0 224."""
    net = _Stack(224).conv(32, 3, 2).conv(32, 3, depthwise=True).conv(16)
    for oc, count, stride in ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)):
        for number in range(count):
            wide, s = 6 * net.channels, stride if number == 0 else 1
            net.conv(wide).conv(wide, 3, s, depthwise=True).conv(oc, added=number > 0)
    return tuple(net.conv(1280).conv(1280, 7, 7, depthwise=True).dense(1001).layers)


def resnet50() -> tuple[Layer, ...]:
    """ResNet50 224, stride in the 3x3 convolution."""
    net = _Stack(224).conv(64, 7, 2)
    net.size = 56
    for narrow, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            s = stride if number == 0 else 1
            if number == 0:
                shortcut = _Stack(net.size)
                shortcut.channels = net.channels
                net.layers += shortcut.conv(4 * narrow, 1, s).layers
            net.conv(narrow).conv(narrow, 3, s).conv(4 * narrow, added=True)
    return tuple(net.conv(2048, 7, 7, depthwise=True).dense(1000).layers)


def yolov5(width: float, depth: float, lookup: bool) -> tuple[Layer, ...]:
    """YOLOv5 at 640x640 with three heads."""

    def wide(channels: int) -> int:
        return int(channels * width)

    def c3(net: _Stack, channels: int, count: int, shortcut: bool) -> None:
        source, half = net.channels, channels // 2
        net.conv(half)
        for _ in range(max(round(count * depth), 1)):
            net.conv(half).conv(half, 3, added=shortcut)
        net.channels = source
        net.conv(half).join(2 * half).conv(channels)

    net = _Stack(640, lookup).conv(wide(64), 6, 2)
    kept = []
    for channels, count in ((128, 3), (256, 6), (512, 9), (1024, 3)):
        net.conv(wide(channels), 3, 2)
        c3(net, wide(channels), count, True)
        kept.append((net.size, net.channels))
    net.conv(wide(512)).join(wide(2048)).conv(wide(1024))
    heads = []
    for level, channels in ((2, 512), (1, 256)):
        net.conv(wide(channels))
        heads.append((net.size, net.channels))
        net.size = kept[level][0]
        net.join(net.channels + kept[level][1])
        c3(net, wide(channels), 3, False)
    outputs = [(net.size, net.channels)]
    for size, channels in reversed(heads):
        net.conv(net.channels, 3, 2)
        assert net.size == size
        net.join(net.channels + channels)
        c3(net, 2 * channels, 3, False)
        outputs.append((net.size, net.channels))
    for size, channels in outputs:
        net.size, net.channels = size, channels
        net.conv(255, last=True)
    return tuple(net.layers)


NETWORKS: dict[str, Network] = {
    "MobileNetV1 224": Network(mobilenet_v1(), 2.18, "widetii/orangepi5plus-npu, librocketnpu/BENCHMARKS.md"),
    "MobileNetV2 224": Network(mobilenet_v2(), 2.22, "airockchip/rknn_model_zoo v2.3.2"),
    "ResNet50 224": Network(resnet50(), 9.08, "airockchip/rknn_model_zoo v2.3.2"),
    "YOLOv5s ReLU 640": Network(yolov5(0.5, 0.33, False), 15.13, "airockchip/rknn_model_zoo v2.3.2"),
    "YOLOv5s SiLU 640": Network(yolov5(0.5, 0.33, True), 20.66, "airockchip/rknn_model_zoo v2.3.2"),
    "YOLOv5n SiLU 640": Network(yolov5(0.25, 0.33, True), 12.12, "airockchip/rknn_model_zoo v2.3.2"),
}
"""The six networks that the timing model was adjusted to."""


def yolov8n() -> tuple[Layer, ...]:
    """YOLOv8n at 640x640: its convolutions, with heads of 80 classes."""

    def c2f(net: _Stack, channels: int, count: int) -> None:
        half = channels // 2
        net.conv(channels)
        net.channels = half
        for _ in range(count):
            net.conv(half, 3).conv(half, 3)
        net.join((2 + count) * half).conv(channels)

    net = _Stack(640).conv(16, 3, 2)
    kept = []
    for channels, count in ((32, 1), (64, 2), (128, 2), (256, 1)):
        net.conv(channels, 3, 2)
        c2f(net, channels, count)
        kept.append((net.size, net.channels))
    net.conv(128).join(512).conv(256)
    down = [(net.size, net.channels)]
    for level, channels in ((2, 128), (1, 64)):
        net.size, joined = kept[level][0], net.channels + kept[level][1]
        c2f(net.join(joined), channels, 1)
        down.append((net.size, net.channels))
    outputs = [(net.size, net.channels)]
    for channels, (_, joined) in zip((128, 256), reversed(down[:2]), strict=True):
        net.conv(net.channels, 3, 2)
        c2f(net.join(net.channels + joined), channels, 1)
        outputs.append((net.size, net.channels))
    for size, channels in outputs:
        for wide, last in ((64, 64), (80, 80)):
            net.size, net.channels = size, channels
            net.conv(wide, 3).conv(wide, 3).conv(last)
    return tuple(net.layers)


def mobiledet() -> tuple[Layer, ...]:
    """The backbone of MobileDet for edge TPUs at 320x320, as TensorFlow's detection models publish it."""
    net = _Stack(320).conv(32, 3, 2)
    net.conv(8).conv(12, 3).conv(16)
    # Kind, channels, times of channels inside, kernel, stride, whether its input is added.
    fused, inverted = "fused", "inverted"
    for kind, channels, times, k, s, added in (
        *((fused, 16, 8, 3, 2, False), (fused, 16, 4, 3, 1, True), (fused, 16, 8, 3, 1, True)),
        *((fused, 16, 4, 3, 1, True), (fused, 40, 8, 5, 2, False)),
        *([(fused, 40, 4, 3, 1, True)] * 3),
        *((inverted, 72, 8, 3, 2, False), (inverted, 72, 8, 3, 1, True)),
        *([(fused, 72, 4, 3, 1, True)] * 2),
        *((inverted, 96, 8, 5, 1, False), (inverted, 96, 8, 5, 1, True)),
        *([(inverted, 96, 8, 3, 1, True)] * 2),
        *((inverted, 120, 8, 5, 2, False), (inverted, 120, 8, 3, 1, True), (inverted, 120, 4, 3, 1, True)),
        *((inverted, 120, 8, 3, 1, True), (inverted, 384, 8, 5, 1, False)),
    ):
        wide = times * net.channels
        if kind == fused:
            net.conv(wide, k, s)
        else:
            net.conv(wide).conv(wide, k, s, depthwise=True)
        net.conv(channels, added=added)
    return tuple(net.layers)


SHAPES: dict[str, tuple[Layer, ...]] = {"MobileDet backbone 320": mobiledet(), "YOLOv8n 640": yolov8n()}
"""More networks, to which nothing was fitted."""


def network_model(layers: tuple[Layer, ...]) -> bytes:
    """Return a TFLite model of such shapes, int8 with random weights, layer by layer.

    Only chains are built: a layer that does not read what the layer before made reads a new input of the network, and
    additions and concatenations are left out.
    """
    builder, random = ModelBuilder(), np.random.default_rng(0)
    inputs: list[int] = []
    outputs: list[int] = []
    last, shape = -1, (0, 0, 0)
    for layer in layers:
        if layer.joins:
            continue
        wanted = (layer.ih, layer.iw, layer.ic)
        if shape != wanted:
            if last >= 0:
                outputs.append(last)
            last = builder.tensor((1, *wanted), DType.INT8, scale=0.05)
            inputs.append(last)
        last, shape = _layer(builder, random, layer, last), (layer.oh, layer.ow, layer.oc)
    return builder.build(inputs, [*outputs, last])


def _layer(builder: ModelBuilder, random: np.random.Generator, layer: Layer, source: int) -> int:
    kernel = (1 if layer.depthwise else layer.oc, layer.kh, layer.kw, layer.oc if layer.depthwise else layer.ic)
    scale = 0.01 / (layer.kh * layer.kw * kernel[3]) ** 0.5
    weights = builder.tensor(kernel, DType.INT8, scale=scale, data=random.integers(-127, 128, kernel))
    bias = builder.tensor((layer.oc,), DType.INT32, scale=scale * 0.05, data=random.integers(-99, 99, layer.oc))
    made = builder.tensor((1, layer.oh, layer.ow, layer.oc), DType.INT8, scale=0.05)
    stride = (layer.stride, layer.stride)
    padding = Padding.VALID if layer.kh == layer.ih else Padding.SAME
    if padding is Padding.VALID:
        stride = (1, 1)
    if layer.depthwise:
        builder.operator("DEPTHWISE_CONV_2D", [source, weights, bias], [made], ops.DepthwiseConv2D(stride, padding))
    else:
        builder.operator("CONV_2D", [source, weights, bias], [made], ops.Conv2D(stride, padding))
    return made
