"""An inference request as the Open Inference Protocol writes it, and its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rocketnpu.serving.refusal import malformed
from rocketnpu.serving.signature import Port, Signature
from rocketnpu.serving.tensors import (
    Array,
    batch_of,
    from_bytes,
    from_json,
    read_json,
    shown,
    to_bytes,
    to_json,
    whole_number,
)

_MICROSECONDS = 1e6
_LONGEST = 1 << 62
"""Microseconds that a client may name; the server grants fewer."""


@dataclass(frozen=True)
class Asked:
    """What a client wants."""

    identifier: str | None
    items: list[list[Array]]
    """For each inference of the batch the model's inputs, in the model's order."""
    outputs: tuple[tuple[Port, bool], ...]
    """Which, in the client's order, and whether as bytes."""
    seconds: float | None
    """How long the client would wait."""


def read_request(body: bytes, header: int | None, signature: Signature, most: int) -> Asked:
    """Read a request.

    Args:
        body: all of it.
        header: bytes of its JSON, where other bytes follow.
        signature: the model's.
        most: inferences that one request may ask for.

    Raises:
        RefusedError: it is malformed, or the model takes something else.
    """
    data = memoryview(body)
    document = read_json(data if header is None else data[:header])
    identifier = document.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise malformed(f"the id is {shown(identifier)}, not a string")
    parameters = _parameters(document, "the request")
    values = _inputs(document, data[len(data) if header is None else header :], signature, most)
    timeout = parameters.get("timeout")
    return Asked(
        identifier,
        _items(values, signature),
        _outputs(document, signature, _truth(parameters, "binary_data_output", default=False)),
        None if timeout is None else min(whole_number(timeout, "the timeout"), _LONGEST) / _MICROSECONDS,
    )


def _inputs(document: Mapping[str, Any], rest: memoryview, signature: Signature, most: int) -> list[Array]:
    """Read each of the model's inputs; bytes come in the order in which the request names the inputs."""
    given = _named(document.get("inputs"), "input", signature.inputs)
    sizes: set[int] = set()
    values: dict[str, Array] = {}
    for name, asked in given.items():
        port = next(port for port in signature.inputs if port.name == name)
        batch = batch_of(port, asked, batched=signature.batched)
        if batch > most:
            raise malformed(f"the batch has {batch} inferences, and at most {most} are taken")
        sizes.add(batch)
        size = _parameters(asked, f"input {name!r}").get("binary_data_size")
        if size is None:
            values[name] = from_json(port, asked.get("data"), batch)
            continue
        if "data" in asked:
            raise malformed(f"input {name!r} has data twice, as JSON and as bytes")
        count = whole_number(size, f"the binary_data_size of input {name!r}")
        if count > len(rest):
            raise malformed(f"input {name!r} is said to have {shown(count)} bytes, and {len(rest)} are left")
        values[name], rest = from_bytes(port, rest[:count], batch), rest[count:]
    if missing := [port.name for port in signature.inputs if port.name not in values]:
        raise malformed(f"input {missing[0]!r} is missing")
    if len(rest):
        raise malformed(f"{len(rest)} bytes are left that belong to no input")
    if len(sizes) > 1:
        raise malformed(f"the inputs have batches of {' and '.join(map(str, sorted(sizes)))}")
    return [values[port.name] for port in signature.inputs]


def _items(values: Sequence[Array], signature: Signature) -> list[list[Array]]:
    rows = [
        list(array.reshape(-1, *port.shape)) if port.shape else [array.reshape(())]
        for port, array in zip(signature.inputs, values, strict=True)
    ]
    return [list(item) for item in zip(*rows, strict=True)]


def _outputs(document: Mapping[str, Any], signature: Signature, as_bytes: bool) -> tuple[tuple[Port, bool], ...]:
    if document.get("outputs") is None:
        return tuple((port, as_bytes) for port in signature.outputs)
    asked = _named(document["outputs"], "output", signature.outputs)
    found = []
    for name, wanted in asked.items():
        parameters = _parameters(wanted, f"output {name!r}")
        if "classification" in parameters:
            raise malformed("the classification extension is not served: take the scores")
        port = next(port for port in signature.outputs if port.name == name)
        found.append((port, _truth(parameters, "binary_data", default=as_bytes)))
    return tuple(found)


def _named(given: object, what: str, ports: Sequence[Port]) -> dict[str, dict[str, Any]]:
    """Return a request's tensors by their names, in its order, if the model has them and none comes twice."""
    known = {port.name for port in ports}
    if not isinstance(given, list) or not given:
        raise malformed(f"the request has no list of {what}s")
    found: dict[str, dict[str, Any]] = {}
    for one in given:
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(name, str) or name not in known:
            raise malformed(f"the model has no {what} {shown(name)}; it has {', '.join(map(repr, sorted(known)))}")
        if name in found:
            raise malformed(f"{what} {name!r} comes twice")
        found[name] = one
    return found


def _parameters(document: Mapping[str, Any], whose: str) -> dict[str, Any]:
    found = document.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise malformed(f"the parameters of {whose} are no object")
    return found


def _truth(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise malformed(f"{name} is {shown(value)}, neither true nor false")
    return value


def write_answer(
    head: Mapping[str, Any], asked: Asked, signature: Signature, results: Sequence[Sequence[Array]]
) -> tuple[bytes, int | None]:
    """Return an answer's body, and the bytes of its JSON where others follow.

    Args:
        head: what it begins with.
        asked: the request.
        signature: the model's.
        results: of each inference the model's outputs, in the model's order.

    Raises:
        RefusedError: a value has no form in JSON.
    """
    document = dict(head) if asked.identifier is None else {**head, "id": asked.identifier}
    outputs, blocks = [], []
    for port, as_bytes in asked.outputs:
        place = signature.outputs.index(port)
        parts = [result[place] for result in results]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        told: dict[str, Any] = {"name": port.name, "datatype": port.datatype, "shape": list(values.shape)}
        if as_bytes:
            blocks.append(to_bytes(port, values))
            told["parameters"] = {"binary_data_size": len(blocks[-1])}
        else:
            told["data"] = to_json(port, values)
        outputs.append(told)
    text = json.dumps({**document, "outputs": outputs}, allow_nan=False, separators=(",", ":")).encode()
    return (b"".join([text, *blocks]), len(text)) if blocks else (text, None)
