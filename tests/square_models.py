"""Small models that really see: coloured squares in a grid of 8 by 8 cells, in the forms of known heads.

One convolution weighs each cell's colours; boxes are the cells. So what a picture must give is known beforehand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rocketnpu.graph import DType
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.third_party import tflite_schema as schema

SIZE, CELL, GRID = 64, 8, 8
CELLS = GRID * GRID
CLASSES = ("red", "green", "blue")
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
_STEP = 1 / 256
_WEIGHT = 1 / (64 * 127)
"""A weight of 127 steps is the mean of one colour over a cell."""


def squares(picture: tuple[int, int], things: dict[tuple[int, int], str]) -> np.ndarray[Any, Any]:
    """Draw squares of a colour by their row and column among cells of the picture (rows, columns), on grey."""
    pixels = np.full((*picture, 3), 114, np.uint8)
    side = max(picture) // GRID
    for (row, column), name in things.items():
        pixels[row * side : (row + 1) * side, column * side : (column + 1) * side] = COLOURS[name]
    return pixels


def kernels() -> np.ndarray[Any, Any]:
    """Weights in steps, (classes, rows, columns, channels): a class's own colour less half of each other one."""
    one = np.full((3, 3), -64) + np.eye(3, dtype=int) * (127 + 64)
    return np.broadcast_to(one[:, None, None, :], (3, CELL, CELL, 3))


def background() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Weights in steps and biases as real numbers of four classes: the background, wherever no colour is strong."""
    return np.concatenate([np.zeros((1, CELL, CELL, 3), int), kernels()]), np.array([0.3, 0, 0, 0])


def boxes() -> np.ndarray[Any, Any]:
    """Middle, width and height of each cell, as shares, (4, cells)."""
    rows, columns = np.divmod(np.arange(CELLS), GRID)
    extent = np.full(CELLS, 1 / GRID)
    return np.stack([(columns + 0.5) / GRID, (rows + 0.5) / GRID, extent, extent])


def tflite_map(builder: ModelBuilder) -> tuple[int, int]:
    """Add input and convolution; return both tensors. The map is (1, 8, 8, classes), from 0 to 1."""
    picture = builder.tensor((1, SIZE, SIZE, 3), DType.UINT8, scale=1 / 255, name="picture")
    weights = builder.tensor(kernels().shape, DType.UINT8, scale=_WEIGHT, zero_point=128, data=kernels() + 128)
    bias = builder.tensor((3,), DType.INT32, scale=_WEIGHT / 255, data=np.zeros(3, np.int32))
    found = builder.tensor((1, GRID, GRID, 3), DType.UINT8, scale=_STEP, name="map")
    builder.operator("CONV_2D", [picture, weights, bias], [found], ops.Conv2D((CELL, CELL), ops.Padding.VALID))
    return picture, found


def tflite_yolo(version: int) -> bytes:
    """Return a detector whose one output is YOLOv5's, or that of YOLOv8 and 11, in shares of the input."""
    builder = ModelBuilder()
    picture, found = tflite_map(builder)

    def tensor(shape: tuple[int, ...], data: Any = None) -> int:
        return builder.tensor(shape, DType.UINT8, scale=_STEP, data=data)

    shape = builder.tensor((3,), DType.INT32, data=np.array([1, CELLS, 3], np.int32))
    scores = tensor((1, CELLS, 3))
    builder.operator("RESHAPE", [found, shape], [scores])
    steps = np.rint(boxes() / _STEP).astype(np.uint8)
    if version == 5:
        fixed = np.concatenate([steps, np.full((1, CELLS), 255, np.uint8)]).T[None]
        output = tensor((1, CELLS, 8))
        builder.operator("CONCATENATION", [tensor(fixed.shape, fixed), scores], [output], ops.Concatenation(2))
        return builder.build([picture], [output])
    order = builder.tensor((3,), DType.INT32, data=np.array([0, 2, 1], np.int32))
    turned, output = tensor((1, 3, CELLS)), tensor((1, 7, CELLS))
    builder.operator("TRANSPOSE", [scores, order], [turned])
    builder.operator("CONCATENATION", [tensor((1, 4, CELLS), steps[None]), turned], [output], ops.Concatenation(1))
    return builder.build([picture], [output])


def tflite_segments(classes: bool) -> bytes:
    """Return a model whose output is the map of four classes' scores, or of the classes themselves."""
    builder = ModelBuilder()
    steps, real = background()
    picture = builder.tensor((1, SIZE, SIZE, 3), DType.UINT8, scale=1 / 255, name="picture")
    weights = builder.tensor(steps.shape, DType.UINT8, scale=_WEIGHT, zero_point=128, data=steps + 128)
    scale = _WEIGHT / 255
    bias = builder.tensor((4,), DType.INT32, scale=scale, data=np.rint(real / scale).astype(np.int32))
    found = builder.tensor((1, GRID, GRID, 4), DType.UINT8, scale=_STEP, name="map")
    builder.operator("CONV_2D", [picture, weights, bias], [found], ops.Conv2D((CELL, CELL), ops.Padding.VALID))
    if not classes:
        return builder.build([picture], [found])
    axis = builder.tensor((1,), DType.INT32, data=np.array([3], np.int32))
    best = builder.tensor((1, GRID, GRID), DType.INT64)
    options = schema.ArgMaxOptionsT()
    options.outputType = schema.TensorType.INT64
    builder.operator("ARG_MAX", [found, axis], [best], table=options)
    return builder.build([picture], [best])


def joints() -> np.ndarray[Any, Any]:
    """Column, row and score of 17 points in each cell, along its diagonal, every second one seen: (51, cells)."""
    left, top = boxes()[:2] - 0.5 / GRID
    along = [(number + 1) / 18 / GRID for number in range(17)]
    return np.concatenate([[left + one, top + one, np.full(CELLS, float(n % 2 == 0))] for n, one in enumerate(along)])


def tflite_pose() -> bytes:
    """Return a model in the form of YOLOv8-pose: whoever is red is a person."""
    builder = ModelBuilder()
    picture = builder.tensor((1, SIZE, SIZE, 3), DType.UINT8, scale=1 / 255, name="picture")
    steps = kernels()[:1] + 128
    weights = builder.tensor(steps.shape, DType.UINT8, scale=_WEIGHT, zero_point=128, data=steps)
    bias = builder.tensor((1,), DType.INT32, scale=_WEIGHT / 255, data=np.zeros(1, np.int32))
    found = builder.tensor((1, GRID, GRID, 1), DType.UINT8, scale=_STEP)
    builder.operator("CONV_2D", [picture, weights, bias], [found], ops.Conv2D((CELL, CELL), ops.Padding.VALID))
    shape = builder.tensor((3,), DType.INT32, data=np.array([1, 1, CELLS], np.int32))
    scores = builder.tensor((1, 1, CELLS), DType.UINT8, scale=_STEP)
    builder.operator("RESHAPE", [found, shape], [scores])
    fixed = [
        builder.tensor((1, *rows.shape), DType.UINT8, scale=_STEP, data=np.clip(np.rint(rows / _STEP), 0, 255)[None])
        for rows in (boxes(), joints())
    ]
    output = builder.tensor((1, 56, CELLS), DType.UINT8, scale=_STEP)
    builder.operator("CONCATENATION", [fixed[0], scores, fixed[1]], [output], ops.Concatenation(1))
    return builder.build([picture], [output])


def onnx_segments(path: Path) -> None:
    """Write the same as ONNX, channels first: scores."""
    from onnx import helper

    steps, real = background()
    constants = {"weights": steps.transpose(0, 3, 1, 2) * np.float32(_WEIGHT), "bias": real.astype(np.float32)}
    node = helper.make_node("Conv", ["picture", "weights", "bias"], ["output"], strides=[CELL, CELL])
    write_onnx(path, [node], constants, (1, 4, GRID, GRID))


def onnx_yolo(version: int, path: Path) -> None:
    """Write the same as ONNX with real numbers, channels first and boxes in pixels, quantised by ONNX Runtime."""
    from onnx import helper

    weights = kernels().transpose(0, 3, 1, 2).astype(np.float32) * np.float32(_WEIGHT)
    fixed = boxes().astype(np.float32) * SIZE
    nodes = [helper.make_node("Conv", ["picture", "weights"], ["map"], strides=[CELL, CELL])]
    constants = {"weights": weights, "shape": np.array([1, 3, CELLS])}
    nodes.append(helper.make_node("Reshape", ["map", "shape"], ["scores"]))
    if version == 5:
        constants["fixed"] = np.concatenate([fixed, np.ones((1, CELLS), np.float32)]).T[None]
        nodes.append(helper.make_node("Transpose", ["scores"], ["turned"], perm=[0, 2, 1]))
        nodes.append(helper.make_node("Concat", ["fixed", "turned"], ["output"], axis=2))
    else:
        constants["fixed"] = fixed[None]
        nodes.append(helper.make_node("Concat", ["fixed", "scores"], ["output"], axis=1))
    write_onnx(path, nodes, constants, (1, CELLS, 8) if version == 5 else (1, 7, CELLS))


def write_onnx(path: Path, nodes: list[Any], constants: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Write nodes that make ``output`` of ``picture``, quantised with pictures of squares."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, (1, 3, SIZE, SIZE))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(_plain(value), name) for name, value in constants.items()],
    )
    whole = path.with_name("float.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), whole)

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            random = np.random.default_rng(0)
            drawn = [squares((SIZE, SIZE), {(r, c): str(random.choice(CLASSES)) for r in range(8) for c in range(8)})]
            self._left = [one.transpose(2, 0, 1)[None].astype(np.float32) / 255 for one in drawn]

        def get_next(self) -> Any:
            return {"picture": self._left.pop()} if self._left else None

    quantize_static(
        whole,
        path,
        Pictures(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _plain(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(value, np.float32 if value.dtype.kind == "f" else np.int64)
