"""Program files that somebody made to harm: sound checksums around any byte or number."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import numpy as np

from rocketnpu.device.executor import run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import RocketError
from rocketnpu.program import store

HEAD = struct.Struct("<8sII")
NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 255, 4096, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, 1 << 70)
VALUES: tuple[Any, ...] = (
    *NUMBERS,
    *(-number for number in NUMBERS),
    None,
    True,
    "",
    "x" * 9,
    [],
    {},
    0.5,
    1e308,
    [[]],
)


def sealed(header: bytes, rest: bytes, version: int = store.VERSION) -> bytes:
    """Put a header and what follows it into a file with a right checksum."""
    body = HEAD.pack(store.MAGIC, version, len(header)) + header + rest
    return body + hashlib.sha256(body).digest()


def parts(data: bytes) -> tuple[Any, bytes]:
    """Take a file apart: what its header says, and what follows it."""
    _, _, length = HEAD.unpack_from(data)
    return json.loads(data[HEAD.size : HEAD.size + length]), data[HEAD.size + length : -32]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every list or object of a document with each key or index."""
    found = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *places(value[key])]
    return found


def mutated(data: bytes, seed: int) -> bytes:
    """Change one to three values of the header, or bytes, words or relocations behind it; or cut, or swap."""
    random = np.random.default_rng(seed)
    header, rest = parts(data)
    changed = bytearray(rest)
    for _ in range(int(random.integers(1, 4))):
        how = int(random.integers(0, 10))
        if how < 6:
            where = places(header)
            owner, key = where[int(random.integers(0, len(where)))]
            old = owner[key]
            if isinstance(old, int) and not isinstance(old, bool) and random.random() < 0.4:
                owner[key] = old + int(random.choice((-1, 1, 8, -8, 64, -64, 4096)))
            elif isinstance(old, list) and old and random.random() < 0.5:
                owner[key] = [*old, old[0]] if random.random() < 0.5 else old[:-1]
            else:
                owner[key] = VALUES[int(random.integers(0, len(VALUES)))]
        elif how < 8 and changed:
            changed[int(random.integers(0, len(changed)))] ^= 1 << int(random.integers(0, 8))
        elif how == 8 and len(changed) >= 8:
            place = int(random.integers(0, len(changed) // 8)) * 8
            changed[place : place + 8] = random.bytes(8)
        else:
            del changed[int(random.integers(0, len(changed) + 1)) :]
    text = json.dumps(header, separators=(",", ":")).encode()
    if random.random() < 0.05:
        place = int(random.integers(0, len(text)))
        text = text[:place] + random.bytes(3) + text[place + 1 :]
    return sealed(text, bytes(changed))


def outcome(data: bytes) -> str:
    """Load a program and run it on the simulator: "refused", "failed" with an error of ours, or "bytes"."""
    try:
        program = store.from_bytes(data)
    except RocketError:
        return "refused"
    with SimulatorDevice() as device:
        try:
            inputs = [np.zeros(binding.shape, binding.dtype.value) for binding in program.inputs]
            results = run(device, program, inputs)
        except RocketError:
            return "failed"
    assert [result.shape for result in results] == [binding.shape for binding in program.outputs]
    return "bytes"
