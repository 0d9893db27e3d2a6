"""Networks of real numbers as PyTorch exports them, with random weights and sensible statistics.

Every layer is computed as it is written, on pictures, and its weights and biases are scaled so that each channel has
mean 0 and deviation 1 there: what batch normalisation leaves after it is folded in. Classifiers tell pictures apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
OPSET = 17


class FloatNet:
    """Writes a network and computes it; values are named, and their numbers kept."""

    def __init__(self, pictures: Array, seed: int = 0) -> None:
        """Begin with pictures NCHW, of which the network takes one at a time."""
        self.random = np.random.default_rng(seed)
        self.values: dict[str, Array] = {"x": pictures.astype(np.float32)}
        self.shapes = {"x": (1, *pictures.shape[1:])}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(array), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:
        names = [f"v{len(self.values) + place}" for place in range(outputs)]
        node = helper.make_node(kind, inputs, names, f"{kind}_{len(self.nodes)}", **attributes)
        self.nodes.append(node)
        for name, value in zip(names, self.computed(node), strict=True):
            self.values[name] = value
        return names

    def computed(self, node: onnx.NodeProto) -> list[Array]:
        given = {name: self.values[name] for name in node.input if name in self.values}
        held = [tensor for tensor in self.constants if tensor.name in node.input]
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in given.items()]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output]
        graph = helper.make_graph([node], "one", infos, results, held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return list(session.run(None, given))

    def conv(self, x: str, channels: int, kernel: int = 1, stride: int = 1, group: int = 1, act: str = "") -> str:
        """Write a convolution padded as PyTorch does it, with its normalisation folded in, and an activation."""
        given = self.values[x].shape[1]
        weights = self.random.normal(0, 1, (channels, given // group, kernel, kernel)).astype(np.float32)
        weights /= np.sqrt(weights[0].size)
        attributes = {
            "kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4, "group": group
        }  # fmt: skip
        raw = helper.make_node("Conv", [x, self.constant(weights)], ["raw"], **attributes)
        (found,) = self.computed(raw)
        self.constants.pop()
        mean, deviation = found.mean((0, 2, 3)), found.std((0, 2, 3)) + 1e-3
        gain = self.random.uniform(0.6, 1.4, channels).astype(np.float32) / deviation
        bias = self.random.normal(0, 0.3, channels).astype(np.float32) - mean * gain
        inputs = [x, self.constant(weights * gain[:, None, None, None]), self.constant(bias.astype(np.float32))]
        (made,) = self.node("Conv", inputs, **attributes)
        return self.activated(made, act)

    def activated(self, x: str, act: str) -> str:
        if act == "SiLU":
            (gate,) = self.node("Sigmoid", [x])
            return self.node("Mul", [x, gate])[0]
        if act == "ReLU6":
            bounds = [self.constant(np.float32(bound)) for bound in (0.0, 6.0)]
            return self.node("Clip", [x, *bounds])[0]
        return self.node("Relu", [x])[0] if act == "ReLU" else x

    def classifier(self, x: str, classes: int) -> str:
        """Write a mean over the map and a product, fitted by least squares: each picture is of a class of its own.

        Scores of the other classes have deviation 1, and that of a picture's own class is 8.
        """
        (pooled,) = self.node("GlobalAveragePool", [x])
        (rows,) = self.node("Flatten", [pooled], axis=1)
        features = self.values[rows].astype(np.float64)
        count = len(features)
        wanted = self.random.normal(0, 1, (count, classes))
        wanted[np.arange(count), np.arange(count) * classes // count] = 8
        around = features - features.mean(0)
        weights = np.linalg.lstsq(around, wanted - wanted.mean(0), rcond=None)[0]
        bias = wanted.mean(0) - features.mean(0) @ weights
        inputs = [rows, self.constant(weights.T.astype(np.float32)), self.constant(bias.astype(np.float32))]
        return self.node("Gemm", inputs, transB=1)[0]

    def model(self, *outputs: str) -> onnx.ModelProto:
        shape = self.shapes["x"]
        infos = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *self.values[name].shape[1:]))
            for name in outputs
        ]
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "net", [given], infos, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def mobilenet_v2(pictures: Array) -> onnx.ModelProto:
    """MobileNetV2 1.0 of 1000 classes."""
    net = FloatNet(pictures)
    x, given = net.conv("x", 32, 3, 2, act="ReLU6"), 32
    for times, channels, count, stride in (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        for place in range(count):
            step = stride if place == 0 else 1
            y = net.conv(x, given * times, act="ReLU6") if times > 1 else x
            y = net.conv(y, given * times, 3, step, given * times, "ReLU6")
            y = net.conv(y, channels)
            x = net.node("Add", [x, y])[0] if step == 1 and given == channels else y
            given = channels
    return net.model(net.classifier(net.conv(x, 1280, act="ReLU6"), 1000))


def resnet_18(pictures: Array) -> onnx.ModelProto:
    """ResNet-18 of 1000 classes."""
    net = FloatNet(pictures)
    x = net.conv("x", 64, 7, 2, act="ReLU")
    (x,) = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for channels, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        y = net.conv(net.conv(x, channels, 3, stride, act="ReLU"), channels, 3)
        short = x if stride == 1 and net.values[x].shape[1] == channels else net.conv(x, channels, 1, stride)
        (x,) = net.node("Add", [y, short])
        x = net.activated(x, "ReLU")
    return net.model(net.classifier(x, 1000))


def yolo_like(pictures: Array, width: int = 16) -> onnx.ModelProto:
    """A detector built as YOLOv8n is (width 16), cut at its head: three pairs of maps, boxes and classes."""
    net = FloatNet(pictures)

    def block(x: str, channels: int, count: int, *, shortcut: bool) -> str:
        x = net.conv(x, channels, act="SiLU")
        sizes = net.constant(np.array([channels // 2] * 2, np.int64))
        halves = net.node("Split", [x, sizes], 2, axis=1)
        for _ in range(count):
            y = net.conv(net.conv(halves[-1], channels // 2, 3, act="SiLU"), channels // 2, 3, act="SiLU")
            halves.append(net.node("Add", [halves[-1], y])[0] if shortcut else y)
        return net.conv(net.node("Concat", halves, axis=1)[0], channels, act="SiLU")

    def enlarged(x: str) -> str:
        scales = net.constant(np.array([1, 1, 2, 2], np.float32))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return net.node("Resize", [x, "", scales], **how)[0]

    def joined(*values: str) -> str:
        return net.node("Concat", values, axis=1)[0]

    x = net.conv(net.conv("x", width, 3, 2, act="SiLU"), 2 * width, 3, 2, act="SiLU")
    x = block(x, 2 * width, 1, shortcut=True)
    small = block(net.conv(x, 4 * width, 3, 2, act="SiLU"), 4 * width, 2, shortcut=True)
    middle = block(net.conv(small, 8 * width, 3, 2, act="SiLU"), 8 * width, 2, shortcut=True)
    large = block(net.conv(middle, 16 * width, 3, 2, act="SiLU"), 16 * width, 1, shortcut=True)
    pooled = [net.conv(large, 8 * width, act="SiLU")]
    for _ in range(3):
        pooled += net.node("MaxPool", [pooled[-1]], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2])
    large = net.conv(joined(*pooled), 16 * width, act="SiLU")
    middle = block(joined(enlarged(large), middle), 8 * width, 1, shortcut=False)
    small = block(joined(enlarged(middle), small), 4 * width, 1, shortcut=False)
    middle = block(joined(net.conv(small, 4 * width, 3, 2, act="SiLU"), middle), 8 * width, 1, shortcut=False)
    large = block(joined(net.conv(middle, 8 * width, 3, 2, act="SiLU"), large), 16 * width, 1, shortcut=False)
    ends = []
    for level in (small, middle, large):
        for channels, classes in ((4 * width, 64), (5 * width, 80)):
            y = net.conv(net.conv(level, channels, 3, act="SiLU"), channels, 3, act="SiLU")
            ends.append(net.conv(y, classes))
    return net.model(*ends)


NETWORKS: dict[str, tuple[Callable[[Array], onnx.ModelProto], int]] = {
    "MobileNetV2": (mobilenet_v2, 224),
    "ResNet-18": (resnet_18, 224),
    "YOLOv8n-like": (yolo_like, 320),
}
"""How each is made, and the size of its pictures."""
