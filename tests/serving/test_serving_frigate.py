"""Frigate's zmq detector, answered."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from frigate_client import FrigateClient
from served import Served

from materials import CHECKOUT
from rocketnpu import zoo
from rocketnpu.errors import InputError, RocketError
from rocketnpu.pictures import load_picture
from rocketnpu.serving.frigate import check_endpoint, reading
from rocketnpu.vision.detector import Detector


@pytest.fixture(scope="module")
def context() -> Iterator[zmq.Context[Any]]:
    with zmq.Context() as made:
        yield made


@pytest.fixture
def client(served: Served, models: Path, context: zmq.Context[Any]) -> Iterator[FrigateClient]:
    made = FrigateClient(context, f"ipc://{models}/frigate")
    yield made
    made.close()


def frames(count: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(11).integers(0, 256, (count, side, side, 3), np.uint8)


def expected(model: Path, pixels: np.ndarray, threshold: float = 0.1) -> np.ndarray:
    """What the detector says, by the way that ``rocketnpu detect`` goes."""
    rows = np.zeros((20, 6), np.float32)
    with Detector(model, threshold=threshold, device="simulator") as detector:
        found = detector.detect(pixels)
    high, wide = pixels.shape[:2]
    for row, one in zip(rows, found, strict=False):
        left, top, right, bottom = one.box
        row[:] = one.number, one.score, top / high, left / wide, bottom / high, right / wide
    return rows


def test_a_frame_and_its_boxes(client: FrigateClient, models: Path) -> None:
    assert client.has("detector.tflite")
    (frame,) = frames(1)
    found = client.detect(frame[None])
    assert found[0, 1] > 0.3
    np.testing.assert_allclose(found, expected(models / "detector.tflite", frame), atol=0.05 / 32 + 1e-6)


def test_each_way_of_tensors_gives_the_same(client: FrigateClient) -> None:
    (frame,) = frames(1)
    first = client.detect(frame[None])
    assert first.any()
    for other in (
        frame,
        frame.transpose(2, 0, 1)[None].copy(),
        frame[None].astype(np.float32),
        (frame[None] / np.float32(255)).astype(np.float32),
    ):
        np.testing.assert_array_equal(client.detect(other), first)


def test_a_frame_of_another_size_is_fitted(client: FrigateClient, models: Path) -> None:
    frame = np.ascontiguousarray(frames(1, 64)[0, :48])
    np.testing.assert_allclose(
        client.detect(frame[None]), expected(models / "detector.tflite", frame), atol=0.05 / 48 + 1e-6
    )


def test_models_are_asked_for_by_name_and_not_taken(client: FrigateClient, served: Served) -> None:
    assert client.has("detector")
    assert client.has("detector.onnx"), "Frigate names a file of its own; what counts is the name"
    assert not client.has("classifier"), "it is no detector"
    assert not client.has("yolov9-t.onnx")
    assert client.detect(frames(1)).any(), "the model that was there stays"
    assert served.said("Frigate asks for a model 'yolov9-t.onnx', and there is none of that name; there is detector")
    assert served.said("models are not taken from clients")


@pytest.mark.parametrize(
    "sent",
    [
        [b""],
        [b"\xff"],
        [b"[]"],
        [b"{}"],
        [b"{}", b""],
        [b'{"shape": [1, 32, 32, 3], "dtype": "uint8"}', bytes(3071)],
        [b'{"shape": [1, 32, 32, 3], "dtype": "object"}', bytes(3072)],
        [b'{"shape": [1, 32, 32, 3], "dtype": "float64"}', bytes(8 * 3072)],
        [b'{"shape": [-1, 32, 32, 3], "dtype": "uint8"}', bytes(3072)],
        [b'{"shape": [4294967296, 4294967296], "dtype": "uint8"}', bytes(3072)],
        [b'{"shape": [1, 32, 32, 1e400], "dtype": "uint8"}', bytes(3072)],
        [b'{"shape": [1, 48, 64], "dtype": "uint8"}', bytes(3072)],
        [b'{"shape": "x", "dtype": "uint8"}', bytes(3072)],
        [b'{"shape": [1, 32, 32, 3], "dtype": "float32"}', b"\x00\x00\xc0\x7f" * 3072],
        [b'{"shape": [1, 32, 32, 3], "dtype": "uint8"}', bytes(3072), b"more"],
        [b"{" * 70_000],
        [b"[" * 60_000],
    ],
)
def test_what_is_malformed_is_answered_by_zeros(client: FrigateClient, sent: list[bytes]) -> None:
    assert not client.decode(client.raw(*sent)).any()
    assert client.detect(frames(1)).any(), "and the next one is answered"


def test_several_cameras_and_some_that_are_killed(
    client: FrigateClient, models: Path, served: Served, context: zmq.Context[Any]
) -> None:
    pictures = frames(6)
    wanted = [client.detect(one[None]) for one in pictures]
    before = served.descriptors

    def camera(number: int) -> bool:
        mine = FrigateClient(context, f"ipc://{models}/frigate")
        for turn in range(5):
            if number % 3 == 2:  # goes away without its answer
                head = {"shape": [32, 32, 3], "dtype": "uint8"}
                mine.socket.send_multipart([json.dumps(head).encode(), pictures[0].tobytes()])
                mine.close()
                mine = FrigateClient(context, f"ipc://{models}/frigate")
                continue
            which = (number + turn) % 6
            np.testing.assert_array_equal(mine.detect(pictures[which][None]), wanted[which])
        mine.close()
        return True

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(camera, range(6)))
    assert client.detect(pictures[0][None]).any()
    assert served.descriptors <= before + 2
    assert "Traceback" not in served.log, served.log


def test_the_hens_are_birds(tmp_path: Path, context: zmq.Context[Any]) -> None:
    model = zoo.named("ssdlite_mobiledet")
    path = zoo.Cache().find(model, model.model)
    if path is None:
        pytest.skip("no SSDLite MobileDet: run `rocketnpu models get ssdlite_mobiledet` once")
    frame = load_picture(CHECKOUT / "examples" / "hens.jpg", 320, 320)
    with Served("-m", f"det={path}", "-c", 1, "--frigate", f"ipc://{tmp_path}/z"):
        client = FrigateClient(context, f"ipc://{tmp_path}/z")
        assert client.has("/config/det.tflite")
        found = client.detect(frame)
        client.close()
    assert found[0, 0] == 15, "a bird, as COCO's categories are counted from 0"
    np.testing.assert_allclose(found, expected(path, frame[0]), atol=0.05 / 320 + 1e-6)


def test_a_picture_too_small_or_odd() -> None:
    sound = reading({"shape": [3, 5, 7], "dtype": "uint8"}, bytes(105))
    assert sound.shape == (5, 7, 3)
    with pytest.raises(RocketError, match="3 channels"):
        reading({"shape": [5, 7, 4], "dtype": "uint8"}, bytes(140))
    with pytest.raises(RocketError, match="no shape"):
        reading({"shape": [True, 7, 3], "dtype": "uint8"} | {"shape": None}, bytes(140))
    with np.errstate(all="raise"):
        values = np.full((4, 4, 3), -3e38, "<f4")
        dark = reading({"shape": [4, 4, 3], "dtype": "float32"}, values.tobytes())
        values[0] = 3e38
        bright = reading({"shape": [4, 4, 3], "dtype": "float32"}, values.tobytes())
    assert not dark.any()
    assert (bright[0] == 255).all()
    assert not bright[1:].any()


@pytest.mark.parametrize("kind", ["file", "link", "pipe", "folder"])
def test_a_socket_takes_the_place_of_nothing(kind: str, tmp_path: Path) -> None:
    """ZeroMQ removes whatever has the socket's name."""
    path = tmp_path / "precious"
    make: dict[str, Any] = {
        "file": lambda: path.write_bytes(b"precious"),
        "link": lambda: path.symlink_to(tmp_path / "other"),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }
    make[kind]()
    before = path.lstat()
    with pytest.raises(InputError, match="is there already, and it is no socket"):
        check_endpoint(f"ipc://{path}", open_to_all=True)
    assert path.lstat().st_ino == before.st_ino


def test_a_socket_of_a_server_is_left_and_one_that_nobody_has_is_not(
    tmp_path: Path, served: Served, models: Path
) -> None:
    with pytest.raises(InputError, match=r"a server listens at .* already"):
        check_endpoint(f"ipc://{models}/frigate", open_to_all=False)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    for rest in (tmp_path / "dead", tmp_path / "new", "@abstract", "*"):
        assert check_endpoint(f"ipc://{rest}", open_to_all=False) == []
