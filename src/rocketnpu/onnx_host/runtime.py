"""ONNX Runtime's own results, which say what the author of an ONNX model means.

ONNX Runtime computes a quantised model in two ways. Unfused, each operator works on real numbers between
DequantizeLinear and QuantizeLinear; fused, as it runs by default, on integers. The two differ now and then by a step
themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import InputError, ModelError, UnsupportedError
from rocketnpu.model.onnx import OnnxModel
from rocketnpu.model.onnx.values import DTYPES

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]
_MISSING = "this needs ONNX Runtime, which is not installed: pip install 'rocketnpu[onnx]'"
_QUIET = 4
"""ONNX Runtime's level of messages at which it keeps them to itself; what it raises says the same."""


def require_runtime() -> Any:
    """Return the ``onnxruntime`` package.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UnsupportedError(_MISSING) from None
    return onnxruntime


def session(proto: onnx.ModelProto, *, fused: bool) -> Any:
    """Make a session on the CPU, on one thread.

    Raises:
        ModelError: ONNX Runtime refuses the model.
        UnsupportedError: it is not installed.
    """
    runtime = require_runtime()
    options = runtime.SessionOptions()
    levels = runtime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fused else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    try:
        return runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has kinds of its own for each status, all plain exceptions
        raise ModelError(f"ONNX Runtime refuses the model: {' '.join(str(error).split())[:300]}") from None


def run_session(session: Any, outputs: Sequence[str] | None, inputs: Mapping[str, Array]) -> list[Array]:
    """Run a session once.

    Raises:
        InputError: an input does not fit, or ONNX Runtime fails.
    """
    try:
        return list(session.run(outputs, dict(inputs)))
    except Exception as error:
        raise InputError(f"ONNX Runtime: {' '.join(str(error).split())[:300]}") from None


def with_outputs(proto: onnx.ModelProto, names: Iterable[str], types: Mapping[str, int]) -> onnx.ModelProto:
    """Return a copy of a model that also gives the values of some names."""
    import onnx.helper

    shown = onnx.helper.make_model(proto.graph)
    shown.CopyFrom(proto)
    present = {value.name for value in proto.graph.output}
    for name in names:
        if name not in present:
            shown.graph.output.append(onnx.helper.make_tensor_value_info(name, types[name], None))
    return shown


def tensors(model: OnnxModel, inputs: Sequence[Array], *, fused: bool) -> dict[int, Array]:
    """Run a model and return every tensor of its graph that is a quantised value of the file, as the graph has it.

    ``inputs`` are as the file has them, in the order of the graph's inputs.

    Raises:
        InputError: an input does not fit.
        ModelError: ONNX Runtime refuses the model.
    """
    graph, numbers = model.graph, {dtype: number for number, dtype in DTYPES.items()}
    made = {name for node in model.proto.graph.node for name in node.output}
    wanted: dict[str, int] = {}
    for number, port in model.ports.items():
        tensor = graph.tensors[number]
        if port.value in made and tensor.quantisation is not None and not tensor.is_constant:
            wanted[port.value] = numbers[tensor.dtype]
    shown = with_outputs(model.proto, wanted, wanted)
    given = {model.ports[n].value: np.asarray(a, order="C") for n, a in zip(graph.inputs, inputs, strict=True)}
    names = list(dict.fromkeys([*(value.name for value in model.proto.graph.output), *wanted]))
    found = dict(zip(names, run_session(session(shown, fused=fused), names, given), strict=True)) | given
    return {
        number: port.layout.to_graph(found[port.value])
        for number, port in model.ports.items()
        if port.value in found and found[port.value].size == graph.tensors[number].elements
    }
