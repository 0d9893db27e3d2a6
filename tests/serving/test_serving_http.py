"""The Open Inference Protocol, asked by other people's client."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import Served
from tritonclient import http as triton

import rocketnpu

INFER = "/v2/models/classifier/infer"


def pictures(count: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(models: Path) -> np.ndarray:
    """What the model says of eight pictures, without any server."""
    with rocketnpu.Inference(models / "classifier.tflite", device="simulator") as inference:
        return np.concatenate([inference.run([one[None]])[0] for one in pictures(8)])


@pytest.fixture(scope="module")
def client(served: Served) -> Any:
    with triton.InferenceServerClient(served.url.partition("://")[2]) as found:
        yield found


def ports(client: Any) -> tuple[str, str]:
    metadata = client.get_model_metadata("classifier")
    return metadata["inputs"][0]["name"], metadata["outputs"][0]["name"]


def test_health_and_metadata(client: Any, served: Served) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("classifier")
    assert client.is_model_ready("detector", "1")
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready("classifier", "2")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("classifier")
    assert metadata["inputs"][0] == {
        "name": metadata["inputs"][0]["name"],
        "datatype": "UINT8",
        "shape": [-1, 16, 16, 3],
        "parameters": {"scale": 1 / 128, "zero_point": 128},
    }
    assert metadata["outputs"][0]["shape"] == [-1, 1, 1, 10]
    assert served.get("/v2/health/ready").content == b""


@pytest.mark.parametrize("given", [True, False], ids=["bytes in", "JSON in"])
@pytest.mark.parametrize("taken", [True, False], ids=["bytes out", "JSON out"])
def test_each_way_of_tensors_gives_what_the_model_gives(
    client: Any, expected: np.ndarray, given: bool, taken: bool
) -> None:
    source, sink = ports(client)
    asked = triton.InferInput(source, [8, 16, 16, 3], "UINT8")
    asked.set_data_from_numpy(pictures(8), binary_data=given)
    wanted = [triton.InferRequestedOutput(sink, binary_data=taken)]
    answer = client.infer("classifier", [asked], outputs=wanted, request_id="seven")
    np.testing.assert_array_equal(answer.as_numpy(sink), expected)
    assert answer.get_response()["id"] == "seven"
    assert answer.get_response()["model_name"] == "classifier"


def test_outputs_that_are_not_named_come_all(client: Any, expected: np.ndarray) -> None:
    source, sink = ports(client)
    asked = triton.InferInput(source, [1, 16, 16, 3], "UINT8")
    asked.set_data_from_numpy(pictures(8)[5:6])
    np.testing.assert_array_equal(client.infer("classifier", [asked]).as_numpy(sink), expected[5:6])


def test_many_clients_get_their_own_answers(served: Served, client: Any, expected: np.ndarray) -> None:
    source, _ = ports(client)

    def ask(number: int) -> bool:
        document = {
            "inputs": [
                {
                    "name": source,
                    "shape": [1, 16, 16, 3],
                    "datatype": "UINT8",
                    "data": pictures(8)[number % 8].tolist(),
                }
            ]
        }
        data = served.post(INFER, json=document).json()["outputs"][0]["data"]
        return bool((np.array(data) == expected[number % 8].reshape(-1)).all())

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(32)))


def test_metrics_count(served: Served, client: Any) -> None:
    before = served.figure("rocketnpu_requests_total"), served.figure("rocketnpu_inference_seconds_count")
    source, _ = ports(client)
    asked = triton.InferInput(source, [2, 16, 16, 3], "UINT8")
    asked.set_data_from_numpy(pictures(2))
    client.infer("classifier", [asked])
    assert served.post("/v2/models/nobody/infer", content=b"{}").status_code == 404
    after = served.figure("rocketnpu_requests_total"), served.figure("rocketnpu_inference_seconds_count")
    assert (after[0] - before[0], after[1] - before[1]) == (2, 2)
    assert 'rocketnpu_requests_total{model="",status="404"}' in served.get("/metrics").text
    assert served.figure("rocketnpu_workers") == 4
    assert "nobody" not in served.get("/metrics").text, "a client's words are no label"


def binary(document: dict[str, Any], data: bytes, length: object = None) -> dict[str, Any]:
    text = json.dumps(document).encode()
    header = str(len(text) if length is None else length)
    return {"content": text + data, "headers": {"Inference-Header-Content-Length": header}}


def one(**changes: Any) -> dict[str, Any]:
    """A sound request for one inference, as binary data of 768 bytes, with changes of its input."""
    found = {"name": "t0", "shape": [1, 16, 16, 3], "datatype": "UINT8", "parameters": {"binary_data_size": 768}}
    return {"inputs": [{**found, **changes}]}


def jsoned(**changes: Any) -> dict[str, Any]:
    found = {"name": "t0", "shape": [1, 16, 16, 3], "datatype": "UINT8", "data": [0] * 768, **changes}
    return {"inputs": [{name: value for name, value in found.items() if value is not None}]}


def cases() -> list[Any]:
    sound = bytes(768)
    lies: dict[str, tuple[dict[str, Any], str]] = {
        "no JSON": ({"content": b"\x80\x00"}, "no JSON object"),
        "a list": ({"content": b"[1]"}, "no JSON object"),
        "nothing": ({"content": b""}, "no JSON object"),
        "deep": ({"content": b"[" * 100_000}, "no JSON object"),
        "deep object": ({"content": b'{"inputs":' + b"[" * 500 + b"]" * 500 + b"}"}, "the model has no input"),
        "NaN": ({"content": b'{"inputs": NaN}'}, "no JSON object"),
        "no inputs": ({"json": {}}, "no list of inputs"),
        "inputs are words": ({"json": {"inputs": ["t0"]}}, "the model has no input None"),
        "unknown input": (binary(one(name="other"), sound), "the model has no input 'other'; it has 't0'"),
        "input twice": (binary({"inputs": one()["inputs"] * 2}, sound * 2), "comes twice"),
        "other type": (binary(one(datatype="FP32"), sound), "is UINT8, given is 'FP32'"),
        "type is a list": (binary(one(datatype=[]), sound), "given is []"),
        "other shape": (binary(one(shape=[1, 16, 3, 16]), sound), "has the shape"),
        "negative shape": (binary(one(shape=[-1, 16, 16, 3]), sound), "-1, not a whole number"),
        "huge shape": (binary(one(shape=[10**30, 16, 16, 3]), sound), "at most 64 are taken"),
        "true shape": (binary(one(shape=[True, 16, 16, 3]), sound), "not a whole number"),
        "no batch": (binary(one(shape=[0, 16, 16, 3]), b""), "has the shape"),
        "batch too large": (binary(one(shape=[65, 16, 16, 3]), sound), "at most 64 are taken"),
        "size too large": (
            binary(one(parameters={"binary_data_size": 10**12}), sound),
            "is said to have 1000000000000 bytes",
        ),
        "size too small": (binary(one(parameters={"binary_data_size": 767}), sound), "has 767 bytes"),
        "size is negative": (binary(one(parameters={"binary_data_size": -1}), sound), "not a whole number"),
        "size is a word": (binary(one(parameters={"binary_data_size": "768"}), sound), "not a whole number"),
        "shape and size differ": (binary(one(shape=[2, 16, 16, 3]), sound), "its shape and type make 1536"),
        "bytes left": (binary(one(), sound + b"x"), "1 bytes are left"),
        "data twice": (binary(one(data=[1]), sound), "data twice"),
        "header longer": (binary(one(), sound, 10**6), "no number of bytes that the body has"),
        "header is huge": (binary(one(), sound, "9" * 5000), "no number of bytes that the body has"),
        "header negative": (binary(one(), sound, -5), "no number of bytes that the body has"),
        "header is too short": (binary(one(), sound, 20), "no JSON object"),
        "parameters": (binary(one(parameters=[768]), sound), "are no object"),
        "few elements": ({"json": jsoned(data=[0] * 767)}, "has 767 elements"),
        "no data": ({"json": jsoned(data=None)}, "no list as its data"),
        "ragged": ({"json": jsoned(data=[[1], [2, 3]])}, "no even list"),
        "a long word": ({"json": jsoned(data=[*[0] * 767, "x" * 400_000])}, "are not UINT8"),
        "truths": ({"json": jsoned(data=[True] * 768)}, "are not UINT8"),
        "lists in lists": ({"json": jsoned(data=[[[[[[[1, 2]]]]]]])}, "has 2 elements"),
        "objects": ({"json": jsoned(data=[{}] * 768)}, "are not UINT8"),
        "lists of nothing": ({"json": jsoned(data=[[]] * 768)}, "has 0 elements"),
        "half lists": ({"json": jsoned(data=[[0], *[0] * 767])}, "are not UINT8"),
        "words": ({"json": jsoned(data=["0"] * 768)}, "are not UINT8"),
        "fractions": ({"json": jsoned(data=[0.5] * 768)}, "are not UINT8"),
        "out of range": ({"json": jsoned(data=[256] * 768)}, "are not within UINT8"),
        "negative": ({"json": jsoned(data=[-1] * 768)}, "are not within UINT8"),
        "enormous": ({"json": jsoned(data=[10**40] * 768)}, "are not within UINT8"),
        "null": ({"json": jsoned(data=[None] * 768)}, "are not UINT8"),
        "long digits": ({"content": b'{"inputs": [' + b"9" * 9000 + b"]}"}, "no JSON object"),
        "unknown output": ({"json": {**jsoned(), "outputs": [{"name": "x"}]}}, "the model has no output 'x'"),
        "output is asked oddly": (
            {"json": {**jsoned(), "outputs": [{"name": "t2", "parameters": {"binary_data": 1}}]}},
            "neither true nor false",
        ),
        "classification": (
            {"json": {**jsoned(), "outputs": [{"name": "t2", "parameters": {"classification": 3}}]}},
            "classification extension",
        ),
        "id": ({"json": {**jsoned(), "id": 7}}, "not a string"),
        "timeout": ({"json": {**jsoned(), "parameters": {"timeout": -1}}}, "the timeout is -1"),
    }
    return [pytest.param(*case, id=name) for name, case in lies.items()]


@pytest.mark.parametrize(("request_", "told"), cases())
def test_what_is_malformed_is_told(served: Served, request_: dict[str, Any], told: str) -> None:
    answer = served.post(INFER, **request_)
    assert answer.status_code == 400
    assert told in answer.json()["error"]
    assert len(answer.content) < 1000


def test_a_sound_one_is_answered(served: Served) -> None:
    """The requests above differ from these by what they lie about."""
    names = [port["name"] for kind in ("inputs", "outputs") for port in served.get(INFER[:-6]).json()[kind]]
    assert names == ["t0", "t2"]
    assert served.post(INFER, **binary(one(), bytes(768))).status_code == 200
    assert served.post(INFER, json={**jsoned(), "outputs": [{"name": "t2"}], "id": "x"}).json()["id"] == "x"


def test_other_refusals(served: Served) -> None:
    assert served.get("/v2/models/nobody").status_code == 404
    assert served.get("/v2/models/classifier/versions/2").json() == {"error": "there is no such model here"}
    assert served.get(INFER).status_code == 405
    assert served.post("/v2").status_code == 405
    assert served.get("/somewhere").json() == {"error": "Not Found"}
    packed = served.post(INFER, content=b"x", headers={"Content-Encoding": "gzip"})
    assert (packed.status_code, packed.json()["error"]) == (415, "compressed requests are not taken")


def chunks(count: int, size: int) -> Any:
    return (bytes(size) for _ in range(count))


@pytest.mark.parametrize("streamed", [True, False])
def test_a_body_too_large_is_refused_and_not_kept(served: Served, streamed: bool) -> None:
    before = served.resident
    content = chunks(100, 1 << 20) if streamed else bytes(100 << 20)
    answer = served.post(INFER, content=content)
    assert (answer.status_code, answer.json()["error"]) == (413, "the body has more than 1048576 bytes")
    assert served.resident - before < 32 << 20
    assert served.get("/v2/health/live").status_code == 200


def test_who_waits_to_send_is_told_before(served: Served) -> None:
    with socket.create_connection(served.address, timeout=10) as client:
        client.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n".encode())
        client.sendall(b"Content-Length: 1099511627776\r\n\r\n")
        assert client.makefile("rb").readline().startswith(b"HTTP/1.1 413 ")  # Pythons differ in the words
