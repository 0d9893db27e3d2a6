"""Frigate's detector protocol over ZeroMQ: a camera's frame in, twenty boxes out.

By Frigate's documentation of its ``zmq`` detector: a request has a JSON head and, behind it, a tensor; the answer is
20 rows of float32, class, score, top, left, bottom and right, edges as shares of the picture, and all zero where
nothing was found or something failed. Before, Frigate asks by name whether the model is there.
"""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import socket
import stat
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import zmq

from rocketnpu.closing import Closing
from rocketnpu.errors import DeviceError, InputError, RocketError
from rocketnpu.serving.limits import Limits
from rocketnpu.serving.metrics import Metrics
from rocketnpu.serving.pool import Outputs
from rocketnpu.serving.refusal import malformed
from rocketnpu.serving.tensors import read_json, shown
from rocketnpu.serving.watcher import Watcher

_log = logging.getLogger("rocketnpu.serving")
ROWS, VALUES = 20, 6
"""Of an answer."""
_HEAD_BYTES = 1 << 16
_HIGH_WATER = 2
"""Messages that wait in a socket for each client, which asks for one after another."""
_FRAME_BYTES = 16 << 20
"""Of a part of a message; ZeroMQ does not limit how many parts a message has."""
_HEARTBEAT_MS, _GONE_MS = 10_000, 30_000
_BRIGHTEST = 1.5
"""Real pixels beyond it are 0 to 255, else 0 to 1."""
_CHANNELS = 3
Pixels = npt.NDArray[np.uint8]


def reading(head: Mapping[str, Any], data: bytes) -> Pixels:
    """Return a request's picture, ``(rows, columns, 3)``, whichever order its axes have.

    Raises:
        RefusedError: head and bytes do not fit, or it is no picture.
    """
    shape, name = head.get("shape"), head.get("dtype")
    sound = isinstance(shape, list) and all(isinstance(size, int) and 0 < size <= len(data) for size in shape)
    if not sound or shape is None or len(shape) not in (3, 4) or (len(shape) == 4 and shape[0] != 1):
        raise malformed(f"a picture has no shape {shown(shape)}")
    if name not in ("uint8", "float32"):
        raise malformed(f"a picture's values are uint8 or float32, not {shown(name)}")
    if math.prod(shape) * np.dtype(name).itemsize != len(data):
        raise malformed(f"{len(data)} bytes are no {name} of shape {shown(shape)}")
    values = np.frombuffer(data, np.dtype(name).newbyteorder("<")).reshape(shape[-3:])
    if values.shape[2] != _CHANNELS:
        values = values.transpose(1, 2, 0)
    if values.shape[2] != _CHANNELS:
        raise malformed(f"a picture has {_CHANNELS} channels, not a shape of {shown(shape)}")
    if name == "float32":
        if not np.isfinite(values).all():
            raise malformed("the picture has values that are not finite")
        scale = 1.0 if values.max() > _BRIGHTEST else 255.0
        values = np.rint(np.clip(values, 0, 255 / scale) * scale)
    return np.ascontiguousarray(values, np.uint8)


class FrigateDoor(Closing):
    """A socket for Frigate, and the thread that answers. A context manager."""

    def __init__(self, endpoint: str, watchers: Sequence[Watcher], metrics: Metrics, limits: Limits) -> None:
        """Bind and begin.

        Args:
            endpoint: as Frigate's configuration names it, ``ipc://`` or ``tcp://``.
            watchers: the detectors; the first is asked where Frigate named none.
            metrics: where requests are counted.
            limits: what is granted.

        Raises:
            DeviceError: the endpoint cannot be bound.
        """
        self._watchers, self._metrics, self._limits = watchers, metrics, limits
        self._active = watchers[0]
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.MAXMSGSIZE, min(_FRAME_BYTES, limits.body)),
            (zmq.RCVHWM, _HIGH_WATER),
            (zmq.SNDHWM, _HIGH_WATER),
            (zmq.LINGER, 0),
            (zmq.HEARTBEAT_IVL, _HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, _GONE_MS),
        ):
            self._socket.setsockopt(option, value)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._socket.close()
            self._context.term()
            raise DeviceError(f"cannot bind {endpoint} for Frigate: {error.strerror or error}") from None
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._answers: queue.SimpleQueue[tuple[list[bytes], Pixels, Watcher, Future[Outputs]]] = queue.SimpleQueue()
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="frigate", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering. Closing twice is allowed."""
        if self._ending.is_set():
            return
        self._ending.set()
        self._ring()
        self._thread.join()
        self._socket.close()
        self._context.term()
        self._bell.close()
        self._ear.close()

    def _ring(self) -> None:
        with suppress(OSError):  # full of rings already, or closed
            self._bell.send(b"!")

    def _work(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._ear, zmq.POLLIN)
        while not self._ending.is_set():
            ready = dict(poller.poll())
            if self._ear.fileno() in ready:
                with suppress(BlockingIOError):
                    self._ear.recv(1 << 12)
                self._send_answers()
            if self._socket in ready:
                self._take()

    def _take(self) -> None:
        """Read one request, and answer it or have it worked on."""
        with suppress(zmq.Again):
            frames = self._socket.recv_multipart(zmq.DONTWAIT)
            end = frames.index(b"") + 1 if b"" in frames else len(frames)
            envelope, content = frames[:end], frames[end:]
            if not content:
                return
            try:
                self._handle(envelope, content)
            except Exception as error:
                self._refuse(envelope, error)

    def _handle(self, envelope: list[bytes], content: list[bytes]) -> None:
        if len(content[0]) > _HEAD_BYTES:
            raise malformed(f"its head has {len(content[0])} bytes")
        head = read_json(content[0])
        if head.get("model_request") is True:
            self._reply(envelope, [self._choose(head.get("model_name"))], "model")
            return
        if head.get("model_data") is True:
            _log.warning("Frigate sent a model, and models are not taken from clients: name it with --model")
            self._reply(envelope, [json.dumps({"model_saved": False, "model_loaded": False}).encode()], "model")
            return
        if len(content) != 2:
            raise malformed(f"it has {len(content)} parts, not a head and a tensor")
        pixels, watcher = reading(head, content[1]), self._active
        (result,) = watcher.pool.submit([watcher.given(pixels)], time.monotonic() + self._limits.seconds)
        result.add_done_callback(lambda done: self._done(envelope, pixels, watcher, done))

    def _choose(self, name: object) -> bytes:
        """Make the model of that name the one that is asked from now on."""
        found = next((watcher for watcher in self._watchers if watcher.is_called(name)), None)
        if found is None:
            known = ", ".join(watcher.pool.name for watcher in self._watchers)
            _log.warning("Frigate asks for a model %s, and there is none of that name; there is %s", shown(name), known)
        else:
            self._active = found
        return json.dumps({"model_available": found is not None, "model_loaded": found is not None}).encode()

    def _done(self, envelope: list[bytes], pixels: Pixels, watcher: Watcher, result: Future[Outputs]) -> None:
        """Hand a result over to the thread that may use the socket."""
        self._answers.put((envelope, pixels, watcher, result))
        self._ring()

    def _send_answers(self) -> None:
        with suppress(queue.Empty):
            while True:
                envelope, pixels, watcher, result = self._answers.get_nowait()
                try:
                    rows = watcher.rows(pixels, result.result(), ROWS)
                except Exception as error:
                    self._refuse(envelope, error)
                    continue
                self._reply(envelope, _framed(rows), "boxes" if rows.any() else "nothing")

    def _refuse(self, envelope: list[bytes], error: Exception) -> None:
        """Answer zeros, as the protocol wants it, whatever went wrong."""
        _log.warning("Frigate's request failed: %s", error, exc_info=not isinstance(error, RocketError))
        self._reply(envelope, _framed(np.zeros((ROWS, VALUES), np.float32)), "failed")

    def _reply(self, envelope: list[bytes], content: list[bytes], outcome: str) -> None:
        """Answer; a client that went away is forgotten."""
        self._metrics.frame(outcome)
        with suppress(zmq.ZMQError):
            self._socket.send_multipart([*envelope, *content], zmq.DONTWAIT)


def _framed(rows: npt.NDArray[np.float32]) -> list[bytes]:
    head = json.dumps({"shape": list(rows.shape), "dtype": "float32"}).encode()
    return [head, np.ascontiguousarray(rows, "<f4").tobytes()]


def check_endpoint(endpoint: str, *, open_to_all: bool) -> list[str]:
    """Return warnings about an endpoint: the protocol has no token.

    Raises:
        InputError: it is no endpoint, or other machines reach it, or a file or another server is there.
    """
    from rocketnpu.serving.listening import is_loopback

    scheme, _, rest = endpoint.partition("://")
    if scheme not in ("ipc", "tcp") or not rest:
        raise InputError(f"{endpoint!r} is no endpoint for Frigate: write ipc:///a/path or tcp://127.0.0.1:5555")
    if scheme == "ipc":
        _check_socket(rest)
        return []
    host = rest.rpartition(":")[0].strip("[]")
    if host and host != "*" and is_loopback(host):
        return []
    if not open_to_all:
        raise InputError(
            f"{endpoint} can be reached from other machines, and Frigate's protocol has no token: give --no-token if "
            "all who reach it may use it"
        )
    return [f"anybody who reaches {endpoint} can use this server"]


def _check_socket(path: str) -> None:
    """See that binding a socket removes nothing: ZeroMQ takes away whatever is there before."""
    if path.startswith("@") or path == "*":  # no place in a folder, or one that ZeroMQ chooses
        return
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISSOCK(mode):
        raise InputError(f"{path} for Frigate's socket is there already, and it is no socket: give another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, suppress(OSError):
        client.connect(path)
        raise InputError(f"a server listens at {path} already: end it, or give another path for Frigate's socket")
