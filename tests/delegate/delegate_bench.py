"""Small models, and ways to run them through hosts, for the tests of the delegate."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph.operators import Conv2D, Pool2D
from rocketnpu.model.builder import ModelBuilder

Array = npt.NDArray[Any]


def add_conv(builder: ModelBuilder, source: int, shape: Sequence[int], channels: int, seed: int = 0) -> int:
    """Add a 3x3 convolution of ``shape`` to ``channels`` outputs of the same size, and return its output."""
    random = np.random.default_rng(seed)
    weights = random.integers(0, 256, (channels, 3, 3, shape[3]))
    bias = random.integers(-500, 500, channels)
    w = builder.tensor(weights.shape, DType.UINT8, scale=0.01, zero_point=128, data=weights)
    b = builder.tensor((channels,), DType.INT32, scale=0.0002, data=bias)
    y = builder.tensor((*shape[:3], channels), DType.UINT8, scale=0.05, zero_point=120)
    builder.operator("CONV_2D", [source, w, b], [y], Conv2D((1, 1), Padding.SAME, activation=Activation.NONE))
    return y


def chain(*kinds: str, size: int = 12, channels: int = 16) -> bytes:
    """Make a model of convolutions (``"npu"``) and of pairs that the NPU never takes (``"cpu"``), in a row.

    A pair changes no value, so only the convolutions count for what comes out.
    """
    builder = ModelBuilder()
    shape = (1, size, size, channels)
    first = current = builder.tensor(shape, DType.UINT8, scale=0.05, zero_point=120)
    for place, kind in enumerate(kinds):
        if kind == "npu":
            current = add_conv(builder, current, shape, channels, kinds[:place].count("npu"))
        else:
            made = builder.tensor(shape, DType.FLOAT32)
            builder.operator("DEQUANTIZE", [current], [made])
            current = builder.tensor(shape, DType.UINT8, scale=0.05, zero_point=120)
            builder.operator("QUANTIZE", [made], [current])
    return builder.build([first], [current])


def pooled(size: int = 16) -> bytes:
    """Make a model whose CPU operator pools with a window that fits any larger input too."""
    builder = ModelBuilder()
    shape = (1, size, size, 16)
    x = builder.tensor(shape, DType.UINT8, scale=0.02, zero_point=128)
    y = add_conv(builder, x, shape, 16)
    z = builder.tensor((1, size // 2, size // 2, 16), DType.UINT8, scale=0.05, zero_point=120)
    builder.operator("AVERAGE_POOL_2D", [y], [z], Pool2D((2, 2), Padding.VALID, (2, 2)))
    return builder.build([x], [z])


def noise(shape: Sequence[int], dtype: Any, seed: int = 1) -> Array:
    """Random values of an input; the same numbers for the same arguments."""
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, tuple(shape), dtype, endpoint=True)


def set_noise(interpreter: Any, seed: int = 1) -> None:
    """Fill all inputs of an interpreter whose tensors are allocated."""
    for place, detail in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(detail["index"], noise(detail["shape"], detail["dtype"], seed + place))


def outputs(interpreter: Any) -> list[Array]:
    """Copies of all outputs."""
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def run(model: bytes | Path, delegates: Sequence[Any], seed: int = 1, **options: Any) -> list[Array]:
    """Run a model once on random input through LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    source = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    interpreter = Interpreter(**source, experimental_delegates=list(delegates), **options)
    interpreter.allocate_tensors()
    set_noise(interpreter, seed)
    interpreter.invoke()
    return outputs(interpreter)


def same(first: Sequence[Array], second: Sequence[Array]) -> bool:
    """Whether two lists of outputs are equal byte for byte."""
    return [(a.dtype, a.shape, a.tobytes()) for a in first] == [(a.dtype, a.shape, a.tobytes()) for a in second]


def python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program in a process of its own, which can import this package and this folder."""
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
