"""A whole network whose weights have 4 bits in the file: the NPU gets them as bytes, and the answer is LiteRT's."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from chip import simulate

import rocketnpu
from rocketnpu.compiler import compile_graph
from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan

SIZE = 15


def network(seed: int) -> tuple[bytes, list[int]]:
    """Return a classifier with INT8 weights of -7 to 7, and the numbers of those of at least two dimensions."""
    random, builder, packed = np.random.default_rng(seed), ModelBuilder(), list[int]()

    def weights(*shape: int, axis: int = 0) -> tuple[int, int]:
        scales = random.uniform(0.01, 0.02, shape[axis]).astype(np.float32)
        data = random.integers(-7, 8, shape)
        packed.append(builder.tensor(shape, DType.INT8, scale=scales, axis=axis, data=data))
        bias = random.integers(-300, 300, shape[axis])
        return packed[-1], builder.tensor((shape[axis],), DType.INT32, scale=scales * 0.05, data=bias)

    def computed(*shape: int) -> int:
        return builder.tensor(shape, DType.INT8, scale=0.05, zero_point=seed - 2)

    x, rows = computed(1, SIZE, SIZE, 3), -(-SIZE // 2)
    y, z, mean, scores = (
        *(computed(1, rows, rows, 17), computed(1, rows, rows, 17), computed(1, 1, 1, 17), computed(1, 9)),
    )
    conv = ops.Conv2D((2, 2), Padding.SAME, activation=Activation.RELU)
    builder.operator("CONV_2D", [x, *weights(17, 3, 3, 3)], [y], conv)
    depthwise = ops.DepthwiseConv2D((1, 1), Padding.SAME)
    builder.operator("DEPTHWISE_CONV_2D", [y, *weights(1, 3, 3, 17, axis=3)], [z], depthwise)
    builder.operator("AVERAGE_POOL_2D", [z], [mean], ops.Pool2D((1, 1), Padding.VALID, (rows, rows)))
    builder.operator("FULLY_CONNECTED", [mean, *weights(9, 17)], [scores], ops.FullyConnected())
    return builder.build([x], [scores]), packed


def packed_file(data: bytes, numbers: list[int]) -> bytes:
    """Store constants with 4 bits, two to a byte, the lower half first."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for number in numbers:
        tensor = model.subgraphs[0].tensors[number]
        elements = np.asarray(model.buffers[tensor.buffer].data, np.uint8) & 15
        elements = np.append(elements, np.zeros(len(elements) % 2, np.uint8))
        model.buffers[tensor.buffer].data = elements[0::2] | elements[1::2] << 4
        tensor.type = schema.TensorType.INT4
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def host(model: bytes, values: np.ndarray, *delegates: object) -> np.ndarray:
    interpreter = Interpreter(
        model_content=model,
        experimental_delegates=list(delegates),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("seed", range(4))
def test_weights_of_four_bits_in_a_whole_network(seed: int) -> None:
    whole, numbers = network(seed)
    small = packed_file(whole, numbers)
    assert len(small) < len(whole)
    graphs = tflite.parse(small), tflite.parse(whole)
    for number in numbers:
        np.testing.assert_array_equal(graphs[0].tensors[number].data, graphs[1].tensors[number].data)
    divided = plan(graphs[0])
    assert len(divided.parts) == 1
    assert divided.coverage == 1.0
    values = np.random.default_rng(seed).integers(-128, 128, (1, SIZE, SIZE, 3)).astype(np.int8)
    (found,) = simulate(divided.parts[0], [values])
    np.testing.assert_array_equal(found, simulate(plan(graphs[1]).parts[0], [values])[0])
    programs = [compile_graph(plan(graph).parts[0], divided.policy) for graph in graphs]
    assert [buffer.data for buffer in programs[0].buffers] == [buffer.data for buffer in programs[1].buffers]
    wanted = host(small, values)
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 2  # a step of each of three layers, scaled down
    with rocketnpu.Delegate(device="simulator", minimum_macs=0, cache="off") as delegate:
        np.testing.assert_array_equal(host(small, values, delegate), found)
