"""LiteRT's reference kernels, which say what a model's author means.

``BUILTIN_REF`` is the plain, portable set of kernels: its integer results do not depend on the machine. Every
comparison of accuracy in this project is made against them. They use no delegate, so LiteRT writes nothing to
standard error on their behalf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import InputError, ModelError, RocketError, UnsupportedError
from rocketnpu.files.limits import MODEL_BYTES
from rocketnpu.files.reading import read_file
from rocketnpu.graph import Graph, Operator
from rocketnpu.litert import require_litert
from rocketnpu.model import tflite
from rocketnpu.model.rebuild import rebuild

Array = npt.NDArray[Any]
_LACKING = ("not supported", "unsupported", "unresolved custom op", "didn't find op", "not find op", "unimplemented")
"""Parts of LiteRT's messages (lower case) that tell of a kernel it lacks, not of a broken model."""


def reference(model: bytes | str | Path, inputs: Sequence[Array]) -> dict[int, Array]:
    """Run a model on the reference kernels and return every tensor that has values, by its number in the file.

    ``inputs`` are in the order of the graph's inputs, of its shapes and element types.

    Raises:
        ModelError: the model is damaged, or LiteRT refuses it (its own words are kept).
        UnsupportedError: LiteRT has no kernel for it, or is not installed.
        InputError: an input's number, shape or type is not what the model takes.
    """
    data = model if isinstance(model, bytes) else read_file(model, MODEL_BYTES, "model", ModelError)
    return run_model(data, tflite.parse(data), inputs)


def operator_reference(graph: Graph, operator: Operator, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """Run one operator of a graph on values of your choice and return its outputs.

    ``inputs`` are the operator's tensors that are not constant, each once, in order of first use.

    Raises:
        UnsupportedError: the operator cannot be cut out, or LiteRT has no kernel for it or is not installed.
        ModelError: LiteRT refuses the operator.
        InputError: an input's number, shape or type is not what the operator takes.
    """
    data, _ = rebuild(graph, [operator], operator.outputs)
    parsed = tflite.parse(data)
    tensors = run_model(data, parsed, inputs)
    return tuple(tensors[number] for number in parsed.outputs)


def run_model(data: bytes, graph: Graph, inputs: Sequence[Array], *, reference: bool = True) -> dict[int, Array]:
    """Run a model whose graph is known, and return every tensor that has values.

    ``graph`` may have other input shapes than the file: they are resized. Without ``reference`` LiteRT's default
    kernels run it, without any delegate.

    Raises:
        ModelError: LiteRT refuses the model.
        UnsupportedError: LiteRT has no kernel for it, or is not installed.
        InputError: an input's number, shape or type is not what the graph takes.
    """
    _check(graph, inputs)
    interpreter = _translate(lambda: _interpreter(data, graph, reference=reference))
    for number, values in zip(graph.inputs, inputs, strict=True):
        interpreter.set_tensor(number, np.asarray(values, order="C"))
    _translate(interpreter.invoke)
    return dict(_tensors(interpreter, graph))


def _interpreter(data: bytes, graph: Graph, *, reference: bool) -> Any:
    litert = require_litert()
    interpreter = litert.Interpreter(
        model_content=data,
        num_threads=1,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF
        if reference
        else litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    for found in interpreter.get_input_details():
        shape = graph.tensors[found["index"]].shape if found["index"] in graph.tensors else tuple(found["shape"])
        if tuple(found["shape"]) != shape:
            interpreter.resize_tensor_input(found["index"], shape)
    interpreter.allocate_tensors()
    return interpreter


def _tensors(interpreter: Any, graph: Graph) -> Iterator[tuple[int, Array]]:
    for number, tensor in graph.tensors.items():
        try:
            yield number, interpreter.get_tensor(number)
        except ValueError:  # LiteRT keeps no values of tensors that no operator touches
            if tensor.data is not None:
                yield number, tensor.data


def _check(graph: Graph, inputs: Sequence[Array]) -> None:
    if len(inputs) != len(graph.inputs):
        raise InputError(f"the model takes {len(graph.inputs)} inputs, {len(inputs)} are given")
    for position, (number, values) in enumerate(zip(graph.inputs, inputs, strict=True)):
        tensor = graph.tensors[number]
        if values.shape != tensor.shape or values.dtype.name != tensor.dtype.value:
            raise InputError(
                f"input {position} is {values.dtype.name} {values.shape}, the model takes "
                f"{tensor.dtype.value} {tensor.shape}"
            )


def _translate(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())
        kind: type[RocketError] = UnsupportedError if any(w in text.lower() for w in _LACKING) else ModelError
        raise kind(f"LiteRT refuses the model: {text}") from None
