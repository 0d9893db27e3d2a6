"""Classifiers of TFLite files as ONNX models of real numbers: the file's own weights, dequantised.

What a trained network looks like to an ONNX quantiser, where no trained ONNX file is at hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from rocketnpu.graph import Activation, Graph, Operator, Tensor
from rocketnpu.graph.operators import Conv2D, DepthwiseConv2D

_ENDS = ("QUANTIZE", "RESHAPE", "SOFTMAX")
"""Operators at the borders of a classifier that a network of real numbers does without."""


def dequantised(graph: Graph) -> onnx.ModelProto:
    """Return a classifier of convolutions, sums and a mean, without its softmax; its input is ``x``, -1 to 1, NCHW.

    Raises:
        ValueError: it has other operators.
    """
    return _Twin(graph).model()


class _Twin:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = {graph.inputs[0]: "x"}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        for operator in self.graph.operators:
            self._operator(operator)
        (last,) = self.graph.outputs
        _, rows, columns, channels = self.graph.tensors[self.graph.inputs[0]].shape
        self._node("Flatten", [self.names[last]], "scores", axis=1)
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, channels, rows, columns))
        scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, self.graph.tensors[last].elements))
        graph = helper.make_graph(self.nodes, "twin", [given], [scores], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _operator(self, operator: Operator) -> None:
        read = [self.names.get(number or 0, "") for number in operator.inputs]
        (target,) = operator.outputs
        name = f"v{target}"
        if operator.kind in _ENDS:
            self.names[target] = read[0]
            return
        attributes = operator.attributes
        if isinstance(attributes, Conv2D | DepthwiseConv2D):
            weights, bias = self.graph.input_of(operator, 1), self.graph.input_of(operator, 2)
            depthwise = isinstance(attributes, DepthwiseConv2D)
            reals = _reals(weights).transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
            self._node(
                "Conv",
                [read[0], self._constant(reals), self._constant(_reals(bias))],
                name,
                auto_pad=f"{attributes.padding.value}_UPPER" if attributes.padding.value == "SAME" else "VALID",
                kernel_shape=reals.shape[2:],
                strides=attributes.stride,
                group=reals.shape[0] if depthwise else 1,
            )
        elif operator.kind == "ADD":
            self._node("Add", read[:2], name)
        elif operator.kind in ("MEAN", "AVERAGE_POOL_2D") and self.graph.tensors[target].elements == self._channels(
            operator
        ):
            self._node("GlobalAveragePool", read[:1], name)
        else:
            raise ValueError(f"{operator.kind} {operator.index} has no counterpart here")
        self.names[target] = self._clamped(name, getattr(attributes, "activation", Activation.NONE))

    def _channels(self, operator: Operator) -> int:
        return self.graph.input_of(operator, 0).shape[3]

    def _clamped(self, name: str, activation: Activation) -> str:
        if activation is Activation.NONE:
            return name
        if activation is not Activation.RELU6:
            raise ValueError(f"activation {activation.value} has no counterpart here")
        bounds = [self._constant(np.array(bound, np.float32)) for bound in (0, 6)]
        self._node("Clip", [name, *bounds], f"{name} clamped")
        return f"{name} clamped"

    def _constant(self, array: npt.NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], f"{kind} {len(self.nodes)}", **attributes))


def _reals(tensor: Tensor) -> npt.NDArray[np.float32]:
    assert tensor.data is not None
    assert tensor.quantisation is not None
    quantisation = tensor.quantisation
    shape = [1] * tensor.data.ndim
    if quantisation.is_per_channel:
        shape[quantisation.axis] = -1
    steps = tensor.data.astype(np.int64) - quantisation.zero_points.reshape(shape)
    return (steps * quantisation.scales.reshape(shape)).astype(np.float32)
