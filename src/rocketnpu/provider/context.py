"""Compiled parts inside a model: what an EPContext node of this provider holds, and the making of such a node.

The bytes are a mark, the length of a JSON text, the text, and a program as :mod:`rocketnpu.program.store` writes it.
The text says which of the node's inputs and outputs each of the program's is, and how it lies there.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rocketnpu._version import __version__
from rocketnpu.errors import ModelError
from rocketnpu.files.reading import parse_json
from rocketnpu.graph import DType, Quantisation, Tensor
from rocketnpu.model.onnx.layout import Layout
from rocketnpu.model.onnx.writer import Port
from rocketnpu.program import store
from rocketnpu.program.program import Binding, Program
from rocketnpu.provider import NAME
from rocketnpu.provider.abi import INT, STRING, Runtime, ffi
from rocketnpu.provider.kernel import Slot

KIND, DOMAIN = "EPContext", "com.microsoft"
DATA, SOURCE = "ep_cache_context", "source"
"""Attributes of a node: the bytes, and whose they are."""
MAGIC = b"RKTCTX\x01\0"
_HEAD = struct.Struct("<II")
_MOST = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class Context:
    """A compiled part, and what each of its inputs and outputs is among those of its node."""

    program: Program
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]

    def to_bytes(self) -> bytes:
        """Write it."""
        slots = {"inputs": [_described(slot) for slot in self.inputs], "outputs": [_described(s) for s in self.outputs]}
        text, program = json.dumps(slots).encode(), store.to_bytes(self.program)
        return MAGIC + _HEAD.pack(len(text), len(program)) + text + program

    @classmethod
    def of(cls, data: bytes) -> Context:
        """Read it back.

        Raises:
            ModelError: the bytes are damaged, or written by another version.
        """
        start = len(MAGIC) + _HEAD.size
        if not data.startswith(MAGIC) or len(data) < start:
            raise ModelError("its compiled context is damaged, or of another version of rocketnpu: compile it again")
        length, size = _HEAD.unpack_from(data, len(MAGIC))
        if start + length + size > len(data):
            raise ModelError("its compiled context is cut off")
        program = store.from_bytes(data[start + length : start + length + size])
        try:
            text = parse_json(data[start : start + length])
            inputs = _slots(text["inputs"], program.inputs)
            return cls(program, inputs, _slots(text["outputs"], program.outputs))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise ModelError(f"its compiled context is damaged: {' '.join(str(error).split())[:120]}") from None


def _described(slot: Slot) -> dict[str, Any]:
    layout, quantisation = slot.port.layout, slot.tensor.quantisation
    found = {"split": layout.split, "order": layout.order, "shape": layout.shape, "places": layout.places}
    scale, zero = (0.0, 0) if quantisation is None else (quantisation.scale, quantisation.zero_point)
    return {**found, "place": slot.place, "scale": scale, "zero": zero, "real": slot.is_real, "name": slot.port.value}


def _slots(described: Any, bindings: Sequence[Binding]) -> tuple[Slot, ...]:
    if not isinstance(described, list) or len(described) != len(bindings):
        raise ModelError("its compiled context names other inputs or outputs than its program has")
    return tuple(_slot(item, binding) for item, binding in zip(described, bindings, strict=True))


def _slot(item: Any, binding: Binding) -> Slot:
    split, order, shape, places = (_numbers(item[key]) for key in ("split", "order", "shape", "places"))
    if sorted(order) != list(range(len(split))) or len(set(places)) != len(places):
        raise ModelError("its compiled context has an order of axes that is none")
    if any(place >= len(split) for place in places) or shape != tuple(binding.shape):
        raise ModelError(f"its compiled context has a value of {shape}, its program one of {tuple(binding.shape)}")
    kept = math.prod(split[place] for place in places)
    if not math.prod(split) == math.prod(shape) == kept:
        raise ModelError(f"its compiled context has a value of {shape} that is seen as {split}")
    (place, zero), scale = _numbers([item["place"], item["zero"] + 256]), float(item["scale"])
    if not 0 <= scale < math.inf or (item["real"] and not scale):
        raise ModelError(f"its compiled context has a scale of {scale:g}")
    quantisation = Quantisation.per_tensor(scale, zero - 256) if scale else None
    name = str(item["name"])
    tensor = Tensor(binding.tensor, name, shape, DType(np.dtype(binding.dtype.value).name), quantisation)
    return Slot(place, Port(name, Layout(split, order, shape, places)), tensor, is_real=bool(item["real"]))


def _numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(isinstance(n, int) and 0 <= n <= _MOST for n in values):
        raise ModelError(f"its compiled context has numbers {values!r:.60}")
    return tuple(int(n) for n in values)


def node_of(runtime: Runtime, fused: Any, context: Context) -> Any:
    """Make the EPContext node that stands for a part in a compiled model; it belongs to the host.

    Raises:
        DeviceError: the host refuses it, or is built without what makes nodes.
    """
    names = [
        [runtime.text("GetValueInfoName", info) for info in runtime.list("Node", what, fused)]
        for what in ("Inputs", "Outputs")
    ]
    title = runtime.text("Node_GetName", fused)
    entries: dict[str, int | bytes] = {
        "main_context": 1,
        "embed_mode": 1,
        DATA: context.to_bytes(),
        SOURCE: NAME.encode(),
        "ep_sdk_version": __version__.encode(),
        "partition_name": title.encode(),
    }
    # The runtime frees the attributes, though its header says that it copies them (seen with 1.23 and 1.32).
    attributes = [_attribute(runtime, name, value) for name, value in entries.items()]
    (inputs, first), (outputs, second) = (_texts(found) for found in names)
    made = ffi.new("void **")
    runtime.call(
        "CreateNode",
        *(KIND.encode(), DOMAIN.encode(), title.encode()),
        *(inputs, len(names[0]), outputs, len(names[1])),
        *(ffi.new("void *[]", attributes), len(attributes), made),
    )
    del first, second  # they were kept alive until here
    return made[0]


def _attribute(runtime: Runtime, name: str, value: int | bytes) -> Any:
    if isinstance(value, bytes):
        return runtime.pointer("CreateOpAttr", name.encode(), ffi.from_buffer(value), len(value), STRING)
    return runtime.pointer("CreateOpAttr", name.encode(), ffi.new("int64_t *", value), 1, INT)


def _texts(names: Iterable[str]) -> tuple[Any, list[Any]]:
    """Return texts as an array for C, and what must stay alive as long as it is used."""
    held = [ffi.new("char[]", name.encode()) for name in names]
    return ffi.new("const char *[]", held), held
