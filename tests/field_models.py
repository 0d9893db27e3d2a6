"""Small models with the parts of those found in the field: detection, segmentation, pose and streaming audio.

Their weights are random; their operators, attributes, borders and scales are those of the real ones. What a model
keeps from one inference to the next is in resource variables, in SVDF's state, or in an LSTM's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from field_layers import LINEAR, NONE, PROBABILITY, UNIT, Layers
from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import _Writer as Writer
from rocketnpu.third_party import tflite_schema as schema

CLASSES = 4
ANCHORS = 3
KEYPOINTS = 5


def detection() -> bytes:
    """An SSD, uint8 per tensor: two maps with heads for boxes and classes, joined, and the custom post-process."""
    net = Layers("uint8", 1)
    picture = net.features((1, 64, 64, 3), UNIT)
    first = net.bottleneck(net.separable(net.conv(picture, 16, (3, 3), (2, 2)), 24, 2))
    maps = [net.separable(first, 32, 2)]
    maps.append(net.separable(maps[0], 48, 2))
    boxes, scores, total = [], [], 0
    for found in maps:
        side = net.reals[found][0][1]
        count = side * side * ANCHORS
        boxes.append(net.reshape(net.conv(net.depthwise(found), 4 * ANCHORS, activation=NONE), (1, count, 1, 4)))
        score = net.conv(net.depthwise(found), (CLASSES + 1) * ANCHORS, activation=NONE)
        scores.append(net.reshape(score, (1, count, CLASSES + 1)))
        total += count
    places = net.reshape(net.concatenate(boxes, 1), (1, total, 4))
    chances = net.unary("LOGISTIC", net.concatenate(scores, 1), PROBABILITY)
    outputs = _post_process(net, places, chances, total)
    return net.build([picture], outputs)


def _post_process(net: Layers, places: int, chances: int, total: int) -> list[int]:
    values = net.random.integers(25, 230, (total, 4))
    anchors = net.tensor((total, 4), DType.UINT8, scale=1 / 255, data=values)
    most = 10
    outputs = [net.tensor(shape, DType.FLOAT32) for shape in ((1, most, 4), (1, most), (1, most), (1,))]
    settings = flexbuffers.Builder()
    with settings.Map():
        for name, whole in (("max_detections", most), ("max_classes_per_detection", 1), ("num_classes", CLASSES)):
            settings.Key(name)
            settings.Int(whole)
        scales = {"y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
        for name, real in {"nms_score_threshold": 1e-8, "nms_iou_threshold": 0.6, **scales}.items():
            settings.Key(name)
            settings.Float(real)
        settings.Key("use_regular_nms")
        settings.Bool(False)
    written = bytes(settings.Finish())
    net.operator("CUSTOM:TFLite_Detection_PostProcess", [places, chances, anchors], outputs, custom_options=written)
    return outputs


def segmentation() -> bytes:
    """A DeepLab, int8 per channel: dilated depthwise convolutions, pyramid of three branches, resize, ARG_MAX."""
    net = Layers("int8", 2)
    picture, x = net.quantised((1, 64, 64, 3))
    x = net.separable(net.conv(x, 16, (3, 3), (2, 2)), 24, 2)
    x = net.bottleneck(net.separable(net.separable(x, 32, dilation=2), 32, dilation=4))
    pooled = net.alike(x, (1, 1, 1, 32))
    net.operator("MEAN", [x, net.numbers([1, 2])], [pooled], ops.Reduce(keep_dims=True))
    whole = net.resize(net.conv(pooled, 16), 16)
    x = net.concatenate([whole, net.conv(x, 16), net.separable(x, 16, dilation=6)], 3)
    scores = net.resize(net.conv(net.conv(x, 24), CLASSES, activation=NONE), 64)
    labels = net.tensor((1, 64, 64), DType.INT64)
    table = schema.ArgMaxOptionsT()
    table.outputType = schema.TensorType.INT64
    net.operator("ARG_MAX", [scores, net.numbers(3)], [labels], table=table)
    return net.build([picture], [labels, scores])


def pose() -> bytes:
    """A pose network, int8 per channel with float borders: skip connection, upsampling, two heads."""
    net = Layers("int8", 3)
    picture, x = net.quantised((1, 64, 48, 3))
    x = net.unary("HARD_SWISH", net.conv(x, 16, (3, 3), (2, 2), NONE), (-0.375, 4.0))
    skip = net.separable(x, 24, 2)
    deep = net.bottleneck(net.separable(skip, 32, 2))
    shape = net.reals[skip][0]
    up = net.conv(deep, shape[3], activation=NONE)
    grown = net.alike(up, shape)
    size = net.numbers(shape[1:3])
    net.operator("RESIZE_NEAREST_NEIGHBOR", [up, size], [grown], ops.Resize())
    joined = net.add(grown, net.conv(skip, shape[3], activation=NONE))
    wide = net.features((1, 2 * shape[1], 2 * shape[2], 16), (0, 6))
    sources = net.weights(joined, (16, 4, 4, shape[3]), 0)
    inputs = [net.numbers(net.reals[wide][0]), sources[1], joined, sources[2]]
    net.operator("TRANSPOSE_CONV", inputs, [wide], ops.TransposeConv((2, 2), Padding.SAME, Activation.RELU))
    heat = net.unary("LOGISTIC", net.conv(wide, KEYPOINTS, activation=NONE), PROBABILITY)
    offsets = net.conv(wide, 2 * KEYPOINTS, (3, 3), activation=NONE)
    return net.build([picture], [net.dequantised(heat), offsets])


FRAME = 40
PAST = 8


def streaming() -> bytes:
    """A keyword spotter that takes one frame at a time: the frames before it are in a resource variable.

    READ_VARIABLE, the new frame joined, STRIDED_SLICE drops the oldest, ASSIGN_VARIABLE; convolutions of height 1.
    """
    net = Layers("int8", 4)
    frame = net.features((1, 1, 1, FRAME))
    old = net.alike(frame, (1, 1, PAST, FRAME))
    handle = _handle(net)
    net.operator("READ_VARIABLE", [handle], [old], table=schema.ReadVariableOptionsT())
    window = net.concatenate([old, frame], 2)
    kept = net.alike(frame, (1, 1, PAST, FRAME))
    bounds = [net.numbers(values) for values in ([0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1])]
    net.operator("STRIDED_SLICE", [window, *bounds], [kept], ops.StridedSlice(begin_mask=11, end_mask=15))
    net.operator("ASSIGN_VARIABLE", [handle, kept], [], table=schema.AssignVariableOptionsT())
    x = net.conv(net.conv(window, 32, (1, 3), padding=Padding.VALID), 32, (1, 3), (1, 2), padding=Padding.VALID)
    scores = net.dense(x, CLASSES)
    chances = net.unary("SOFTMAX", scores, PROBABILITY, ops.Softmax())
    return _with_variable(net.build([frame], [chances]), handle, old)


def _handle(net: Layers) -> int:
    """Add the handle of the variable. Its tensor's type is put in later: RESOURCE has no NumPy twin."""
    handle = net.tensor((), DType.INT32, name="handle")
    table = schema.VarHandleOptionsT()
    table.container, table.sharedName = "", "frames"
    net.operator("VAR_HANDLE", [], [handle], table=table)
    return handle


def _with_variable(model: bytes, handle: int, like: int) -> bytes:
    """Give the handle its type, and add the subgraph that fills the variable with zero before the first inference."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    main = tree.subgraphs[0]
    main.tensors[handle].type = schema.TensorType.RESOURCE
    zero = main.tensors[like]
    net = Layers("int8", 0)
    start = _handle(net)
    values = np.full(tuple(zero.shape), zero.quantization.zeroPoint[0], np.int8)
    filled = net.tensor(
        values.shape, DType.INT8, scale=zero.quantization.scale, zero_point=zero.quantization.zeroPoint, data=values
    )
    net.operator("ASSIGN_VARIABLE", [start, filled], [], table=schema.AssignVariableOptionsT())
    other = schema.ModelT.InitFromObj(schema.Model.GetRootAs(net.build([], []), 0))
    second = other.subgraphs[0]
    second.tensors[start].type = schema.TensorType.RESOURCE
    for tensor in second.tensors:
        tensor.buffer += len(tree.buffers) if tensor.buffer else 0
    for operator in second.operators:
        operator.opcodeIndex += len(tree.operatorCodes)
    tree.buffers += other.buffers
    tree.operatorCodes += other.operatorCodes
    tree.subgraphs.append(second)
    main.operators.insert(0, _call_once(tree))
    writer = Writer(1024)
    writer.Finish(tree.Pack(writer), b"TFL3")
    return bytes(writer.Output())


def _call_once(tree: Any) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = schema.BuiltinOperator.CALL_ONCE, 1
    code.deprecatedBuiltinCode = 127
    tree.operatorCodes.append(code)
    call = schema.OperatorT()
    call.opcodeIndex = len(tree.operatorCodes) - 1
    call.inputs = call.outputs = np.zeros(0, np.int32)
    call.builtinOptions, call.builtinOptionsType = schema.CallOnceOptionsT(), schema.BuiltinOptions.CallOnceOptions
    call.builtinOptions.initSubgraphIndex = 1
    return call


def svdf() -> bytes:
    """A keyword spotter of SVDF layers, int8 with a 16-bit state, between fully connected layers."""
    net = Layers("int8", 5)
    frame = net.features((1, FRAME))
    x = net.dense(frame, 32)
    rank, units, memory = 2, 16, 8
    state_scale, scale = 1 / 2048, 1 / 256
    random = net.random
    feature = net.tensor((units * rank, 32), DType.INT8, scale=scale, data=random.integers(-90, 90, (units * rank, 32)))
    time = net.tensor(
        (units * rank, memory), DType.INT16, scale=scale, data=random.integers(-400, 400, (units * rank, memory))
    )
    bias = net.tensor((units,), DType.INT32, scale=state_scale * scale, data=random.integers(-900, 900, units))
    state = net.tensor((1, units * rank * memory), DType.INT16, scale=state_scale, is_variable=True)
    target = net.features((1, units), (0, 6))
    table = schema.SVDFOptionsT()
    table.rank, table.fusedActivationFunction = rank, schema.ActivationFunctionType.RELU
    net.operator("SVDF", [x, feature, time, bias, state], [target], table=table)
    chances = net.unary("SOFTMAX", net.dense(target, CLASSES), PROBABILITY, ops.Softmax())
    return net.build([frame], [chances])


def lstm() -> bytes:
    """A speech model: convolutions along time in int8, then a float LSTM over the steps, and its state for the next."""
    net = Layers("int8", 6)
    sound, x = net.quantised((1, 1, 64, FRAME), LINEAR)
    x = net.conv(net.conv(x, 32, (1, 5), (1, 2)), 24, (1, 3), (1, 2))
    steps = net.dequantised(net.reshape(x, (1, 16, 24)))
    units = 12

    def floats(*shape: int, variable: bool = False) -> int:
        values = None if variable else net.random.normal(0, 0.3, shape).astype(np.float32)
        return net.tensor(shape, DType.FLOAT32, data=values, is_variable=variable)

    inputs: list[int | None] = [
        steps,
        *(floats(units, 24) for _ in range(4)),
        *(floats(units, units) for _ in range(4)),
    ]
    inputs += [None, None, None, *(floats(units) for _ in range(4)), None, None]
    inputs += [floats(1, units, variable=True) for _ in range(2)] + [None] * 4
    target = net.tensor((1, 16, units), DType.FLOAT32)
    table = schema.UnidirectionalSequenceLSTMOptionsT()
    table.fusedActivationFunction = schema.ActivationFunctionType.TANH
    net.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [target], table=table)
    return net.build([sound], [target])


MODELS: dict[str, Callable[[], bytes]] = {
    made.__name__: made for made in (detection, segmentation, pose, streaming, svdf, lstm)
}
