"""Quantise the float model: int8 activations by measured ranges, int8 weights for each output channel.

Runs in the private virtualenv that has ``litert_quantizer``, and needs nothing of this project::

    python quantise.py FLOAT_MODEL RANGES_JSON INT8_MODEL

Two things are put right on the way. Where batch normalisation has switched a channel off, its weights are 7e-6 and
less, and a scale chosen by them alone is so small that the bias needs more than 32 bits: the quantiser cuts it off, and
the sum then wraps around in LiteRT. Such channels get a scale at which their bias fits. And the quantiser keeps large
constants behind the flatbuffer, as models over 2 GB must; they are put back inside it, where every reader looks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import quantizer, recipe

LARGEST_BIAS = 1 << 24
"""Of a quantised bias: as much again, 127 times, is left for the sum of products."""
LARGEST_WEIGHT = 127
STEPS = 255
ALIGNMENT = 16
"""Bytes to which the schema aligns constants."""
IDENTIFIER = b"TFL3"
CHANNEL_AXIS = {
    schema.BuiltinOperator.CONV_2D: 0,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
    schema.BuiltinOperator.FULLY_CONNECTED: 0,
}


class Writer(flatbuffers.Builder):
    """Aligns vectors of bytes, which hold constants."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        """Begin a vector."""
        return super().StartVector(elemSize, numElems, ALIGNMENT if elemSize == 1 else alignment)


def quantise(model: bytes, ranges: dict[str, tuple[float, float]]) -> bytes:
    """Return the int8 model; ``ranges`` holds the smallest and largest value of each activation by its name."""
    limits = {name: {"min": np.float32([low]), "max": np.float32([high])} for name, (low, high) in ranges.items()}
    limits.update(weight_limits(model, ranges))
    tool = quantizer.Quantizer(model)
    tool.load_quantization_recipe(recipe.static_wi8_ai8())
    return inside(bytes(tool.quantize(limits, enable_progress_report=False).quantized_model))


def weight_limits(model: bytes, ranges: dict[str, tuple[float, float]]) -> dict[str, dict[str, Any]]:
    """Return each weight tensor's symmetric range, for each output channel."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    graph, found = tree.subgraphs[0], {}
    for operator in graph.operators:
        axis = CHANNEL_AXIS.get(tree.operatorCodes[operator.opcodeIndex].builtinCode)
        if axis is None:
            continue
        source, weights, bias = (graph.tensors[number] for number in operator.inputs)
        low, high = ranges[source.name.decode()]
        step = (max(high, 0.0) - min(low, 0.0)) / STEPS
        kernel = constant(tree, weights)
        others = tuple(place for place in range(kernel.ndim) if place != axis)
        largest = np.abs(kernel).max(others, keepdims=True)
        needed = LARGEST_WEIGHT * np.abs(constant(tree, bias)).astype(np.float64) / (step * LARGEST_BIAS)
        limit = np.maximum(largest, needed.reshape(largest.shape)).astype(np.float32)
        found[weights.name.decode()] = {"min": -limit, "max": limit}
    return found


def constant(tree: Any, tensor: Any) -> Any:
    """Return a float tensor's values."""
    return tree.buffers[tensor.buffer].data.view(np.float32).reshape(tensor.shape)


def inside(model: bytes) -> bytes:
    """Put constants that lie behind the flatbuffer into it."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    for buffer in tree.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    writer = Writer(1024)
    writer.Finish(tree.Pack(writer), IDENTIFIER)
    return bytes(writer.Output())


def main() -> None:
    """Read the two files that are named, and write the third."""
    source, ranges, target = map(Path, sys.argv[1:])
    target.write_bytes(quantise(source.read_bytes(), json.loads(ranges.read_text("utf-8"))))


if __name__ == "__main__":
    main()
