"""The same bytes for the same model, whatever hashes, locale and threads a process has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PROGRAM = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from concurrent.futures import ThreadPoolExecutor
from rocketnpu.compiler import compile_graph
from rocketnpu.graph.digest import digest
from rocketnpu.partition.plan import plan
from rocketnpu.program import store
from strategies import FAMILIES, case

def made(family):
    found = []
    for seed in range(3):
        divided = plan(case(family, seed).graph)
        found += [str(divided).encode(), *(digest(part).encode() for part in divided.parts)]
        found += [store.to_bytes(compile_graph(part)) for part in divided.parts]
    return b"".join(found)

with ThreadPoolExecutor(int(sys.argv[2])) as threads:
    print(hashlib.sha256(b"".join(threads.map(made, FAMILIES))).hexdigest())
"""


def digest(threads: int, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(TESTS), str(threads)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "0", **environment},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def expected() -> str:
    return digest(1)


@pytest.mark.parametrize(
    ("threads", "environment"),
    [
        (1, {"PYTHONHASHSEED": "1"}),
        (1, {"PYTHONHASHSEED": "4242", "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}),
        (4, {"OPENBLAS_NUM_THREADS": "4"}),
    ],
    ids=["other hashes", "another locale", "threads"],
)
def test_programs_do_not_depend_on_the_process(expected: str, threads: int, environment: dict[str, str]) -> None:
    assert digest(threads, **environment) == expected
