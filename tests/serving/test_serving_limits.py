"""Doors, tokens, deadlines and what strangers do to a server."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from served import Served, eventually

from picture_models import classifier
from rocketnpu.cli.main import run
from rocketnpu.errors import InputError
from rocketnpu.serving.listening import Door, is_loopback, token_from

TOKEN = "a-token-of-some-length"
SOUND = {"inputs": [{"name": "t0", "shape": [1, 16, 16, 3], "datatype": "UINT8", "data": [7] * 768}]}


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of localhost's own, and its key."""
    names = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(names[0]), "-keyout", str(names[1])]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    return names


def test_a_token_and_tls(models: Path, tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    options = ["--token-file", tmp_path / "token", "--certificate", certificate[0], "--key", certificate[1]]
    with Served("-m", models / "classifier.tflite", *options, "-c", 1) as server:
        assert server.url.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=str(certificate[0]))
        with httpx.Client(verify=trusted, base_url=server.url) as client:
            assert client.get("/v2/health/ready").status_code == 200
            for path in ("/v2", "/metrics", "/v2/models/classifier", "/nothing"):
                answer = client.get(path)
                assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            for shown in (f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer \xff"):
                header = {"Authorization": shown.encode("latin-1")}
                assert client.get("/v2", headers=header).status_code == 401
            known = {"Authorization": f"Bearer {TOKEN}"}
            assert client.get("/v2", headers=known).json()["name"] == "rocketnpu"
            assert client.post("/v2/models/classifier/infer", headers=known, json=SOUND).status_code == 200
        with socket.create_connection(server.address, timeout=60) as plain:
            plain.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1" not in plain.recv(1 << 12)
    assert "Traceback" not in server.log


def test_doors_that_are_open_to_others(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert is_loopback("localhost")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("no.such.host.invalid")
    assert run(["serve", "-m", str(models / "classifier.tflite"), "--host", "0.0.0.0"]) == 2
    assert "nothing keeps anybody out: give --token-file" in capsys.readouterr().err
    assert Door("0.0.0.0", open_to_all=True).check() == ["anybody who reaches 0.0.0.0 can use this server"]
    assert "unencrypted" in Door("0.0.0.0", token=TOKEN).check()[0]
    for endpoint, told in (
        ("tcp://*:5555", "no token"),
        ("tcp://0.0.0.0:5555", "no token"),
        ("udp://x", "no endpoint"),
    ):
        assert run(["serve", "-m", str(models / "detector.tflite"), "--frigate", endpoint]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize("package", ["starlette", "zmq"])
def test_packages_that_are_missing(
    models: Path, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert run(["serve", "-m", str(models / "detector.tflite"), "--frigate", "ipc:///nowhere"]) == 2
    assert f"serving needs {package}: pip install 'rocketnpu[serve]'" in capsys.readouterr().err


def test_answers_are_not_held_back() -> None:
    """asyncio switches Nagle's delay off on sockets of this protocol only; it would be 40 ms for each answer."""
    with Door(port=0).listen() as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROCKETNPU_TOKEN", raising=False)
    assert token_from(None) is None
    monkeypatch.setenv("ROCKETNPU_TOKEN", TOKEN)
    assert token_from(None) == TOKEN
    for bad in ("", "short", "with blanks in between them", "\xfcml\xe4uts-are-no-header"):
        (tmp_path / "token").write_text(bad)
        with pytest.raises(InputError, match="holds no token of at least 16 printable"):
            token_from(tmp_path / "token")


def test_mistakes_of_the_command_line(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(models / "classifier.tflite")
    (tmp_path / "my model.tflite").write_bytes(classifier())
    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        for arguments, told in (
            (["-m", model, "-m", model], "two models are called 'classifier'"),
            (["-m", str(tmp_path / "my model.tflite")], "is no name for clients"),
            (["-m", model, "-p", str(taken.getsockname()[1])], "Address already in use"),
            (["-m", model, "--host", "no.such.host.invalid", "--no-token"], "cannot listen at"),
            (["-m", model, "--key", model], "TLS needs both"),
            (["-m", model, "--key", model, "--certificate", model], "cannot be used"),
            (
                ["-m", model, "--frigate", f"ipc://{tmp_path}/x", "-d", "simulator", "-p", "0"],
                "Frigate needs a detector",
            ),
            (["-m", "no-such-model"], "no-such-model"),
        ):
            assert run(["serve", *arguments]) == 2
            error = capsys.readouterr().err
            assert told in error
            assert "Traceback" not in error


@pytest.fixture(scope="module")
def strict(models: Path) -> Iterator[Served]:
    """A server that grants little."""
    options = ["-c", 1, "--queue", 2, "--seconds", 4, "--connections", 12, "--megabytes", 1]
    with Served("-m", models / "classifier.tflite", *options) as server:
        yield server


def test_what_takes_too_long_and_too_many_at_once(strict: Served) -> None:
    """Batches of two fill the queue of two: of many at once some are refused."""
    two = {"inputs": [{**SOUND["inputs"][0], "shape": [2, 16, 16, 3], "data": [7] * 1536}]}
    found: list[int] = []

    def ask() -> None:
        for _ in range(15):
            found.append(strict.post("/v2/models/classifier/infer", json=two).status_code)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {200, 429} <= set(found) <= {200, 408, 429, 504}, "what takes long does so where the machine is busy"
    hurried = {**SOUND, "parameters": {"timeout": 1}}
    answer = strict.post("/v2/models/classifier/infer", json=hurried)
    assert (answer.status_code, answer.json()["error"]) == (504, "the inference did not end in time")
    three = {"inputs": [{**SOUND["inputs"][0], "shape": [3, 16, 16, 3], "data": [7] * 2304}]}
    assert strict.post("/v2/models/classifier/infer", json=three).status_code == 400


def test_a_body_that_drips_is_given_up(strict: Served) -> None:
    with socket.create_connection(strict.address, timeout=60) as client:
        client.sendall(b"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        begin = time.monotonic()
        answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - begin < 40
        assert b'{"error": "the body did not come in time"}' in answer


def test_too_many_connections(strict: Served) -> None:
    before = strict.descriptors
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(socket.create_connection(strict.address, timeout=60))
        with socket.create_connection(strict.address, timeout=60) as late:
            answer = late.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b'{"error":"too many connections"}')
    assert eventually(lambda: strict.descriptors <= before)
    assert strict.post("/v2/models/classifier/infer", json=SOUND).status_code == 200


def test_heads_that_drip_are_given_up(strict: Served) -> None:
    second = socket.create_connection(strict.address, timeout=30)
    first = [socket.create_connection(strict.address, timeout=30) for _ in range(3)]
    second.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in second.recv(1 << 12)
    second.sendall(b"GET /v2/hea")  # a second head begins and never ends
    begin = time.monotonic()
    for one in first:
        one.sendall(b"GET / HTTP/1.1\r\nX: ")
    while time.monotonic() - begin < 1.5:
        for one in first:
            one.sendall(b"y")
        time.sleep(0.1)
    assert [one.makefile("rb").read() for one in (second, *first)] == [b""] * 4
    assert 1.5 < time.monotonic() - begin < 40
    for one in (second, *first):
        one.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * (1 << 17) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n\x00\x00\x00\x00\r\n\r\n",
    ],
)
def test_what_is_no_http(served: Served, sent: bytes) -> None:
    with socket.create_connection(served.address, timeout=60) as client:
        client.sendall(sent)
        with contextlib.suppress(OSError):  # cut off already
            client.shutdown(socket.SHUT_WR)
            answer = client.makefile("rb").read()
            assert not answer or answer.startswith(b"HTTP/1.1 ")
            assert b"500" not in answer.split(b"\r\n")[0]
    assert served.get("/v2/health/ready").status_code == 200
    assert "Traceback" not in served.log, served.log


def test_killed_clients_leave_nothing(served: Served) -> None:
    served.post("/v2/models/classifier/infer", json=SOUND)
    before = served.descriptors, served.threads
    for number in range(60):
        with socket.create_connection(served.address, timeout=60) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # reset
            head = b"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n"
            client.sendall((head + b"{" * 3000)[: 1 + number * 53])
    assert eventually(lambda: (served.descriptors, served.threads) <= before)
    assert eventually(lambda: served.figure("rocketnpu_waiting") == 0)
    assert "Traceback" not in served.log, served.log


def test_answers_that_nobody_reads(served: Served) -> None:
    """Many requests on one connection, no answer read: the server stops reading, and keeps little."""
    before = served.resident
    with socket.create_connection(served.address, timeout=2) as client:
        with contextlib.suppress(TimeoutError):
            for _ in range(3000):
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        assert served.get("/v2/health/ready").status_code == 200
        assert served.resident - before < 32 << 20


def test_it_ends_in_order(models: Path) -> None:
    with Served("-m", models / "classifier.tflite", "-c", 1) as server:
        idle = socket.create_connection(server.address, timeout=30)
        begun = socket.create_connection(server.address, timeout=30)
        begun.sendall(b"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
        assert server.get("/v2/health/ready").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b"", "a connection without a request is closed"
        begun.sendall(b"}")
        assert begun.makefile("rb").read().startswith(b"HTTP/1.1 400 "), "what has begun is answered"
        assert server.process.wait(30) == 0
        begun.close()
        idle.close()
    assert "Traceback" not in server.log
