"""A client of Frigate's zmq detector protocol, written from Frigate's documentation of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import zmq


class FrigateClient:
    """As Frigate's detector process: a REQ socket that is made anew after a timeout; zeros where anything fails."""

    def __init__(self, context: zmq.Context[Any], endpoint: str, milliseconds: int = 20_000) -> None:
        self._context, self._endpoint, self._milliseconds = context, endpoint, milliseconds
        self.socket = self._connect()

    def _connect(self) -> Any:
        made = self._context.socket(zmq.REQ)
        for option in (zmq.RCVTIMEO, zmq.SNDTIMEO):
            made.setsockopt(option, self._milliseconds)
        made.setsockopt(zmq.LINGER, 0)
        made.connect(self._endpoint)
        return made

    def has(self, name: str) -> bool:
        """Ask for a model, and send it where it is not there; say whether it is loaded."""
        (answer,) = self._ask({"model_request": True, "model_name": name})
        told = json.loads(answer)
        if told["model_available"] and told["model_loaded"]:
            return True
        (answer,) = self._ask({"model_data": True, "model_name": name}, b"the file's content")
        return bool(json.loads(answer)["model_loaded"])

    def detect(self, tensor: np.ndarray) -> np.ndarray:
        head = {"shape": list(tensor.shape), "dtype": tensor.dtype.name, "model_type": "ssd"}
        return self.decode(self._ask(head, tensor.tobytes()))

    def decode(self, frames: list[bytes]) -> np.ndarray:
        head = json.loads(frames[0])
        found = np.frombuffer(frames[1], head["dtype"]).reshape(head["shape"])
        assert (found.shape, found.dtype) == ((20, 6), np.float32)
        return found

    def raw(self, *frames: bytes) -> list[bytes]:
        self.socket.send_multipart(frames)
        answer: list[bytes] = self.socket.recv_multipart()
        return answer

    def _ask(self, head: dict[str, Any], *rest: bytes) -> list[bytes]:
        return self.raw(json.dumps(head).encode(), *rest)

    def close(self) -> None:
        self.socket.close()
