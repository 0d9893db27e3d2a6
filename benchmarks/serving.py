"""What a server costs: inferences a second through HTTP, held against the same inferences without it.

    python benchmarks/serving.py [MODEL.tflite ...] [--clients 8] [--seconds 10] [--cores 1]

Per model, on the simulator, one after the other in turns: ``Inference.run`` from as many threads as the server has
workers, and a server in a process of its own, asked by so many clients with binary tensors on connections that stay.
Printed are inferences a second of both, their ratio, the median of a request's time, and what a processor works for
each, which a machine that is busy with other things changes less.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import rocketnpu
from rocketnpu.zoo import resolve

TURNS = 2
Figures = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["mobilenet_v1"])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    for name in options.models:
        path = resolve(name)
        plain, served, times = np.zeros(2), np.zeros(2), []
        for _ in range(TURNS):
            plain += alone(path, options.cores, options.seconds)
            rate, found = through_a_server(path, options)
            served += rate
            times += found
        (one, own), (other, its), each = plain / TURNS, served / TURNS, statistics.median(times)
        print(
            f"{path.name}: {one:.1f} a second alone, {other:.1f} served ({other / one:.2f}), {each * 1e3:.1f} ms each; "
            f"{own * 1e3:.2f} ms of a processor alone, {its * 1e3:.2f} in the server ({its / own:.2f})"
        )


def at_once(work: list[Callable[[], None]]) -> None:
    """Do several things in threads and wait for all."""
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def alone(path: Path, workers: int, seconds: float) -> Figures:
    """Return inferences a second without a server, and a processor's seconds for each."""
    with rocketnpu.Inference(path, device="simulator", in_flight=workers) as inference:
        tensor = inference.graph.tensors[inference.graph.inputs[0]]
        given = np.zeros(tensor.shape, tensor.dtype.value)
        inference.run([given])
        counts, end, begin = [0] * workers, time.monotonic() + seconds, time.process_time()

        def work(number: int) -> None:
            while time.monotonic() < end:
                inference.run([given])
                counts[number] += 1

        at_once([lambda number=number: work(number) for number in range(workers)])
        return sum(counts) / seconds, (time.process_time() - begin) / sum(counts)


def processor_seconds(process: int) -> float:
    """Return what a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def through_a_server(path: Path, options: argparse.Namespace) -> tuple[Figures, list[float]]:
    """Return inferences a second of a server and its processor's seconds for each, and the time of each request."""
    command = [sys.executable, "-m", "rocketnpu", "serve", "-m", f"model={path}", "-p", "0", "-d", "simulator"]
    with subprocess.Popen([*command, "-c", str(options.cores)], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        port = next(int(found[1]) for line in server.stderr if (found := re.match(r"http://[^:]+:(\d+)/", line)))
        body, headers = request(port)
        times: list[float] = []
        start = processor_seconds(server.pid)
        end = time.monotonic() + options.seconds

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            while time.monotonic() < end:
                begin = time.monotonic()
                connection.request("POST", "/v2/models/model/infer", body, headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    raise SystemExit(f"status {answer.status}")
                times.append(time.monotonic() - begin)
            connection.close()

        at_once([ask] * options.clients)
        used = processor_seconds(server.pid) - start
        server.send_signal(signal.SIGTERM)
    return (len(times) / options.seconds, used / len(times)), times


def request(port: int) -> tuple[bytes, dict[str, str]]:
    """Return a request for one inference on zeros."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/v2/models/model")
    (described,) = json.loads(connection.getresponse().read())["inputs"]
    connection.close()
    shape = [1, *described["shape"][1:]]
    data = np.zeros(shape, described["datatype"].lower()).tobytes()
    source = {"name": described["name"], "datatype": described["datatype"], "shape": shape}
    source["parameters"] = {"binary_data_size": len(data)}
    text = json.dumps({"inputs": [source], "parameters": {"binary_data_output": True}}).encode()
    return text + data, {"Inference-Header-Content-Length": str(len(text))}


if __name__ == "__main__":
    main()
