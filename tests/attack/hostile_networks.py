"""Damaged networks in which passes join operators, as TFLite and as ONNX files, and what the stack makes of them."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import onnx

from bench import picture
from damage import damaged, rewritten
from field_models import MODELS
from idiom_models import IDIOMS, idiom_model
from onnx_nets import random_net
from rocketnpu.errors import RocketError
from rocketnpu.graph import DType, Graph
from rocketnpu.inspect.compare import compare_operators
from rocketnpu.inspect.groups import operator_groups
from rocketnpu.inspect.reference import reference
from rocketnpu.model import onnx as onnx_reader
from rocketnpu.model.tflite import parse
from rocketnpu.onnx_host.compare import compare_onnx
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy

sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
from run_damaged_onnx import fields_changed

LARGEST = 1 << 16
"""Elements of a tensor up to which an accepted network is run as well."""
SOUND = 160


@cache
def _whole(number: int) -> bytes:
    names = list(IDIOMS)
    if number % 8 == 7:
        return list(MODELS.values())[number // 8 % len(MODELS)]()
    return idiom_model(names[number % len(names)], number // len(names))


def mutated(seed: int) -> bytes:
    """Return the damaged TFLite network of a seed: most with changed fields, for few flipped bytes are read at all."""
    data = _whole(seed % SOUND)
    return rewritten(data, seed) if seed % 4 else damaged(data, seed)


def outcome(data: bytes, seed: int) -> str:
    """Take a network all the way: what the NPU runs as one is held against LiteRT."""
    try:
        graph = parse(data)
        divided = plan(graph, Policy(allow_unproven=bool(seed % 2)))
        if not divided.parts:
            return "on the cpu"
        if not _runs(graph):
            return "too large"
        expected = reference(data, [_values(graph, number, seed) for number in graph.inputs])
    except RocketError:
        return "refused"
    for operators in operator_groups(divided):
        if all(number in expected for operator in operators for number in (*_read(graph, operator), *operator.outputs)):
            row = compare_operators(divided, operators, expected)
            if not row.is_sound:
                raise AssertionError(f"{row.kind}: {row.difference}, stated {row.bound}, as model: {row.equals_model}")
    return "as stated"


def _read(graph: Graph, operator: object) -> list[int]:
    return [n for n in operator.inputs if n is not None and graph.tensors[n].data is None]  # type: ignore[attr-defined]


def _runs(graph: Graph) -> bool:
    plain = all(graph.tensors[number].dtype not in (DType.OTHER, DType.BOOL) for number in graph.inputs)
    return plain and all(tensor.elements <= LARGEST for tensor in graph.tensors.values())


def _values(graph: Graph, number: int, seed: int) -> np.ndarray:
    tensor = graph.tensors[number]
    if tensor.dtype in (DType.INT8, DType.UINT8) and tensor.quantisation is not None:
        return np.asarray(picture(tensor, "random", seed))
    random = np.random.default_rng(seed)
    if tensor.dtype.value.startswith("float"):
        return random.uniform(-2, 2, tensor.shape).astype(tensor.dtype.value)
    return random.integers(0, 3, tensor.shape).astype(tensor.dtype.value)


@cache
def _net(number: int) -> bytes:
    net = random_net(number)
    return bytes(net.model(*net.ends).SerializeToString())


def mutated_onnx(seed: int) -> bytes:
    """Return the damaged ONNX network of a seed; every fourth is sound but for the scales and zero points."""
    choose, data = Random(seed), _net(seed % SOUND)
    return _requantised(data, choose) if seed % 4 == 0 else fields_changed(data, choose)


def _requantised(data: bytes, choose: Random) -> bytes:
    """Change some scales and zero points: what remains is a network, with unequal quantisations everywhere."""
    model = onnx.ModelProto.FromString(data)
    for tensor in model.graph.initializer:
        if choose.random() < 0.8 or tensor.dims:
            continue
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.raw_data = (
                np.frombuffer(tensor.raw_data, np.float32) * np.float32(choose.uniform(0.5, 2))
            ).tobytes()
        elif tensor.data_type in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8):
            tensor.raw_data = bytes([choose.randrange(256)])
    return bytes(model.SerializeToString())


def outcome_onnx(data: bytes, seed: int) -> str:
    """Take a network all the way: what the NPU runs as one is held against ONNX Runtime."""
    try:
        model = onnx_reader.parse(data, "hostile.onnx")
        policy = Policy(allow_unproven=bool(seed % 2))
        if not plan(model.graph, policy).parts:
            return "on the cpu"
        if not _runs(model.graph):
            return "too large"
        found = compare_onnx(model, [_values(model.graph, number, seed) for number in model.graph.inputs], policy)
    except RocketError:
        return "refused"
    # Against real numbers only: ONNX Runtime's QGemm takes a bias as if its scale were the product of the others,
    # whatever the file says, and is then steps from its own Gemm.
    for node in found.nodes:
        if not node.row.is_sound:
            row = node.row
            raise AssertionError(f"{row.kind}: {row.difference}, stated {row.bound}, as model: {row.equals_model}")
    return "as stated"
