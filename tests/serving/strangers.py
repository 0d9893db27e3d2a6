"""What strangers do to a server, one thing at a time, drawn from a seed; each says what came of it."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import zmq
from frigate_client import FrigateClient

PATH = "/v2/models/classifier/infer"
ALLOWED = {200, 400, 404, 405, 408, 413, 415, 429, 431, 501, 503, 504}
"""Statuses that the protocols have for what is done here."""
_RESET = struct.pack("ii", 1, 0)
_SECONDS = 60.0


class WrongError(AssertionError):
    """The server said something that it must not."""


@dataclass
class Target:
    """A server with the two small models, and what is right of it."""

    address: tuple[str, int]
    frigate: str
    pictures: np.ndarray
    """(N, 16, 16, 3)."""
    scores: np.ndarray
    """(N, 10), of each picture."""
    frame: np.ndarray
    boxes: np.ndarray
    """(20, 6), of the frame."""
    context: zmq.Context[Any]

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=_SECONDS)


def act(target: Target, draw: random.Random) -> tuple[str, str]:
    """Do one thing; return what it was, and what came of it.

    Raises:
        WrongError: an answer is wrong, or of a status that no protocol has for it.
    """
    (action,) = draw.choices(ACTIONS, [WEIGHTS.get(action, 8) for action in ACTIONS])
    try:
        return action.__name__, action(target, draw)
    except ConnectionError as error:
        return action.__name__, type(error).__name__


def _head(length: int, more: str = "", path: str = PATH) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def _answer(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer to its end; status 0 where the server closed without any."""
    with client.makefile("rb") as file:
        first = file.readline()
        if not first:
            return 0, {}, b""
        status = int(first.split()[1])
        headers = {}
        while (line := file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = file.read(int(headers.get("content-length", "0")))
    if status not in ALLOWED:
        raise WrongError(f"status {status}: {body[:200]!r}")
    if status != 200 and body and headers.get("content-type") == "application/json" and "error" not in json.loads(body):
        raise WrongError(f"status {status} without an error: {body[:200]!r}")
    return status, headers, body


def _request(target: Target, draw: random.Random) -> tuple[bytes, str, np.ndarray, bool]:
    """A sound request: its body, its header's line, what is right, and whether as bytes."""
    chosen = [draw.randrange(len(target.pictures)) for _ in range(draw.choice([1, 1, 1, 2, 5]))]
    pixels, wanted = target.pictures[chosen], target.scores[chosen]
    source: dict[str, Any] = {"name": "t0", "datatype": "UINT8", "shape": list(pixels.shape)}
    if draw.random() < 0.5:
        text = json.dumps({"inputs": [{**source, "data": pixels.tolist()}]}).encode()
        return text, "", wanted, False
    source["parameters"] = {"binary_data_size": pixels.nbytes}
    text = json.dumps({"inputs": [source], "parameters": {"binary_data_output": True}}).encode()
    return text + pixels.tobytes(), f"Inference-Header-Content-Length: {len(text)}\r\n", wanted, True


def _check(status: int, headers: dict[str, str], body: bytes, wanted: np.ndarray, *, as_bytes: bool) -> str:
    if status == 200:
        length = int(headers.get("inference-header-content-length", len(body)))
        output = json.loads(body[:length])["outputs"][0]
        got = np.frombuffer(body[length:], np.uint8) if as_bytes else np.array(output["data"])
        if not np.array_equal(got, wanted.reshape(-1)):
            raise WrongError(f"wrong scores: {got}, right are {wanted.reshape(-1)}")
    elif status not in (429, 503):
        raise WrongError(f"a sound request got {status}: {body[:200]!r}")
    return str(status)


def sound(target: Target, draw: random.Random) -> str:
    body, more, wanted, as_bytes = _request(target, draw)
    with target.connect() as client:
        client.sendall(_head(len(body), more) + body)
        return _check(*_answer(client), wanted, as_bytes=as_bytes)


def in_pieces(target: Target, draw: random.Random) -> str:
    """A sound request, piece by piece."""
    body, more, wanted, as_bytes = _request(target, draw)
    whole = _head(len(body), more) + body
    with target.connect() as client:
        for size in (draw.randrange(1, 40), draw.randrange(1, 200), draw.randrange(1, 500)):
            client.sendall(whole[:size])
            whole = whole[size:]
            time.sleep(0.01)
        client.sendall(whole)
        return _check(*_answer(client), wanted, as_bytes=as_bytes)


def one_after_another(target: Target, draw: random.Random) -> str:
    """Several sound requests on one connection."""
    found = []
    with target.connect() as client:
        for _ in range(4):
            body, more, wanted, as_bytes = _request(target, draw)
            client.sendall(_head(len(body), more) + body)
            found.append(_check(*_answer(client), wanted, as_bytes=as_bytes))
    return max(found)


def damaged(target: Target, draw: random.Random) -> str:
    """A sound request with some bytes changed, cut out or put in."""
    body, more, *_ = _request(target, draw)
    in_head = draw.random() < 0.3
    damage = bytearray(_head(len(body), more) + body if in_head else body)
    for _ in range(draw.choice([1, 1, 2, 8])):
        place = draw.randrange(min(len(damage), draw.choice([60, 250, len(damage)])))
        kind = draw.randrange(3)
        if kind == 0:
            damage[place] = draw.randrange(256)
        elif kind == 1:
            del damage[place : place + draw.choice([1, 3, 40])]
        else:
            damage[place:place] = draw.choice([b"[", b"{", b'"', b"9" * 50, b"null", b"\x00", b"NaN", b"-", b"1e999"])
    with target.connect() as client:
        client.sendall(damage if in_head else _head(len(damage), more) + damage)
        if in_head:  # it may say that more comes
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
        return str(_answer(client)[0])


def killed(target: Target, draw: random.Random) -> str:
    """A client that dies somewhere in its request, or before its answer."""
    body, more, *_ = _request(target, draw)
    whole = _head(len(body), more) + body
    with target.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        client.sendall(whole[: draw.randrange(len(whole) + 1)])
    return "gone"


def huge(target: Target, draw: random.Random) -> str:
    """A body of 100 MB, announced or in chunks."""
    block, count = bytes(1 << 20), 100
    with target.connect() as client:
        if draw.random() < 0.5:
            client.sendall(_head(count << 20))
            for _ in range(count):
                client.sendall(block)
        else:
            client.sendall(_head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
            for _ in range(count):
                client.sendall(b"100000\r\n" + block + b"\r\n")
            client.sendall(b"0\r\n\r\n")
        status, _, body = _answer(client)
    if status not in (413, 503):
        raise WrongError(f"100 MB got {status}: {body[:200]!r}")
    return str(status)


def heavy_text(target: Target, draw: random.Random) -> str:
    """Megabytes of JSON that would be many objects."""
    unit = draw.choice([b"[],", b"{},", b'"",', b"1.5,", b"[", b'{"a":'])
    body = b'{"inputs":[' + unit * ((6 << 20) // len(unit)) + b"0]}"
    with target.connect() as client:
        client.sendall(_head(len(body)) + body)
        return str(_answer(client)[0])


def dripping(target: Target, draw: random.Random) -> str:
    """A request that comes too slowly, and is left."""
    whole = _head(4000) + b"{" * 4000
    with target.connect() as client:
        for place in range(draw.randrange(5, 30)):
            client.sendall(whole[place * 11 : place * 11 + 11])
            time.sleep(0.02)
    return "left"


def unread(target: Target, draw: random.Random) -> str:
    """Many requests at once, and no answer read."""
    with target.connect() as client:
        client.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            for _ in range(draw.randrange(50, 400)):
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
    return "left"


def elsewhere(target: Target, draw: random.Random) -> str:
    """Pages that are there and pages that are not."""
    places = ["/v2", "/v2/health/live", "/metrics", "/v2/models/detector", "/v2/models/%00", "/v2//", "/" + "x" * 9000]
    method, place = draw.choice(["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"]), draw.choice(places)
    with target.connect() as client:
        client.sendall(f"{method} {place} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = client.makefile("rb").read()
    status = int(answer.split()[1])
    if status not in (ALLOWED | {307}):
        raise WrongError(f"{method} {place[:40]} got {status}")
    return str(status)


def camera(target: Target, draw: random.Random) -> str:
    """A frame of Frigate's, sound, malformed, or left without its answer."""
    client = FrigateClient(target.context, target.frigate, int(_SECONDS * 1000))
    head = json.dumps({"shape": list(target.frame.shape), "dtype": "uint8"}).encode()
    try:
        kind = draw.randrange(3)
        if kind == 0:
            found = client.detect(target.frame)
            if found.any() and not np.array_equal(found, target.boxes):
                raise WrongError(f"wrong boxes: {found}")
            return "boxes" if found.any() else "zeros"
        if kind == 1:
            damage = bytearray(head)
            damage[draw.randrange(len(damage))] = draw.randrange(256)
            client.raw(bytes(damage), target.frame.tobytes()[: draw.choice([0, 7, 3071, 3072])])
            return "malformed"
        client.socket.send_multipart([head, target.frame.tobytes()])
        return "left"
    finally:
        client.close()


ACTIONS: list[Callable[[Target, random.Random], str]] = [
    sound,
    in_pieces,
    one_after_another,
    damaged,
    killed,
    huge,
    heavy_text,
    dripping,
    unread,
    elsewhere,
    camera,
]
WEIGHTS = {sound: 40, damaged: 40, huge: 1, heavy_text: 1, dripping: 4, unread: 2}
