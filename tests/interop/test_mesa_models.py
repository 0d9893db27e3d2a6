"""Mesa's own one-operator models through stock Mesa on both emulated VeriSilicon NPUs, against the reference kernels.

Heavy as ``test_mesa.py``, and only where ROCKETNPU_MESA_MODELS names a folder with the models: those of Debian's source
package ``mesa`` (``apt-get source --download-only --tar-only mesa``, the tar's ``src/gallium/targets/teflon/tests``).
About ten minutes a chip.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_mesa import Userland, pytestmark, userland  # noqa: F401 - a fixture and a mark

from rocketnpu.emulator import EmulatedNode, driver_of
from rocketnpu.graph import Graph
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite

HERE = Path(__file__).parent
MODELS = "ROCKETNPU_MESA_MODELS"
LARGEST = 3_500_000
"""Bytes; whole networks are left out."""
AT_ONCE = 12
SEED = 7
"""As in ``guest_run_all.py``."""
CRASHES = {"add"}
"""Stock Mesa 26.2.6 itself dies on these."""


def known_as_wrong(chip: str, graph: Graph) -> bool:
    """Defects of stock streams (facts 9): on generation 7 the constant of an addition."""
    return chip == "a311d" and graph.operators[0].kind == "ADD"


def models() -> list[Path]:
    folder = Path(os.environ.get(MODELS, "/nowhere"))
    return [path for path in sorted(folder.glob("*.tflite")) if path.stat().st_size < LARGEST]


@pytest.mark.skipif(not models(), reason=f"set {MODELS} to the folder of Mesa's test models")
@pytest.mark.parametrize("chip", ["a311d", "imx8mp"])
def test_one_operator_models_of_mesa(chip: str, userland: Userland, tmp_path: Path) -> None:  # noqa: F811
    todo = [path for path in models() if path.stem not in CRASHES]
    delegate = userland.root / "usr/lib/teflon/libteflon.so"
    found: dict[str, dict] = {}
    lines: list[str] = []
    for start in range(0, len(todo), AT_ONCE):
        arguments = (HERE / "guest_run_all.py", delegate, tmp_path, *todo[start : start + AT_ONCE])
        with EmulatedNode(report=lines.append, driver=driver_of(chip)) as node:
            done = subprocess.run(
                userland.command(*map(str, arguments)),
                env=userland.environment(node),
                capture_output=True,
                text=True,
                check=False,
                timeout=900,
            )
        assert done.returncode == 0, (todo[start].stem, done.stderr[-1000:])
        found |= {item["model"]: item for item in map(json.loads, done.stdout.splitlines())}
    assert lines == []
    delegated = [path for path in todo if "DELEGATE" in found[path.stem].get("kinds", ())]
    assert len(delegated) > 200
    graphs = {path: tflite.load(path) for path in delegated}
    wrong = [path for path, graph in graphs.items() if largest_difference(path, graph, tmp_path) > 2]
    assert [path.stem for path in wrong if not known_as_wrong(chip, graphs[path])] == []
    assert bool(wrong) == (chip == "a311d"), "where the wrong constant is near the right one, an addition is right"


def largest_difference(path: Path, graph: Graph, folder: Path) -> int:
    random = np.random.default_rng(SEED)
    inputs = []
    for number in graph.inputs:
        tensor = graph.tensors[number]
        limits = np.iinfo(tensor.dtype.value)
        inputs.append(random.integers(limits.min, limits.max + 1, tensor.shape).astype(tensor.dtype.value))
    wanted = reference(path, inputs)
    return max(
        int(np.abs(np.load(folder / f"{path.stem}.{place}.npy").astype(int) - wanted[number].astype(int)).max())
        for place, number in enumerate(graph.outputs)
    )
