"""Read a model file of any format that is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rocketnpu.errors import InputError, ModelError
from rocketnpu.files.reading import read_head
from rocketnpu.graph import Graph
from rocketnpu.graph.propagate import propagate
from rocketnpu.model import tflite

SUFFIX = ".onnx"
_LENGTH = 8


def is_onnx(path: Path) -> bool:
    """Say whether a file is to be read as ONNX: by its name, unless it says itself that it is TFLite."""
    if path.suffix.lower() != SUFFIX:
        return False
    try:
        return read_head(path, _LENGTH, "model", ModelError)[4:] != tflite.IDENTIFIER
    except ModelError:
        return True


def read(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """Read a model file; its first subgraph is the network. ``shapes`` are those of inputs, by name.

    Raises:
        ModelError: the file is missing, damaged, or no model.
        UnsupportedError: a package that its format needs is not installed.
        InputError: there is no such input, or its rank is another.
    """
    return read_all(path, shapes)[0]


def read_all(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> tuple[Graph, ...]:
    """Read all subgraphs of a model file; see :func:`read`."""
    if is_onnx(path):
        from rocketnpu.model import onnx

        return (onnx.load(path, shapes).graph,)
    first, *others = tflite.load_all(path)
    return (with_shapes(first, shapes or {}), *others)


def with_shapes(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> Graph:
    """Return a graph with other input shapes.

    Args:
        graph: the network.
        shapes: by the input's name, or by its signature's: ``x`` stands for ``serving_default_x:0`` too.

    Raises:
        InputError: there is no such input, or its rank is another.
    """
    if not shapes:
        return graph
    numbers = {graph.tensors[number].name: number for number in graph.inputs}
    short = {name.removeprefix("serving_default_").removesuffix(":0"): number for name, number in numbers.items()}
    wanted = {}
    for name, shape in shapes.items():
        number = numbers.get(name, short.get(name))
        if number is None:
            raise InputError(f"{graph.name} has no input {name!r}; its inputs are {', '.join(numbers)}")
        if len(shape) != len(graph.tensors[number].shape):
            raise InputError(f"input {name} has {len(graph.tensors[number].shape)} dimensions, {len(shape)} are given")
        wanted[number] = tuple(shape)
    return propagate(graph, wanted)


def placeholders(graph: Graph) -> str:
    """Say which inputs have placeholders for rows or columns that nobody has given; empty where none has."""
    found = []
    for number in graph.inputs:
        tensor = graph.tensors[number]
        if any(tensor.shape[axis] == 1 for axis in tensor.placeholders if axis > 0):
            found.append(f"{tensor.name} {'x'.join(map(str, tensor.shape))}")
    if not found:
        return ""
    return (
        f"sizes of {', '.join(found)} are placeholders, and so is all that follows from them: "
        "give real ones with --input NAME=1x160x160x3"
    )
