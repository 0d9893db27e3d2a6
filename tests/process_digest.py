"""A digest of what a process of its own compiles, for tests that vary the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
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


def digest(threads: int = 1, **environment: str) -> str:
    """Return the digest of plans and programs of all families of cases, a process's threads and environment given."""
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
