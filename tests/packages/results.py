"""Print, as JSON, the SHA-256 of each model's program, input and output: ``results.py PICTURE MODEL...``."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import tempfile
from pathlib import Path

import rocketnpu
from rocketnpu.pictures import picture_for
from rocketnpu.program import store


def digests(picture: Path, model: Path) -> dict[str, str]:
    """Compile a model's first part and run it on the simulator."""
    graph = rocketnpu.load(model)
    part = rocketnpu.plan(graph).parts[0]
    program = rocketnpu.compile(part)
    given = picture_for(picture, part.tensors[part.inputs[0]])
    with tempfile.TemporaryDirectory() as scratch, rocketnpu.open_device("simulator") as device:
        outputs = rocketnpu.run(device, program, [given])
        store.save(program, Path(scratch, "program"))
        saved = Path(scratch, "program").read_bytes()
    found = {"program": saved, "input": given.tobytes(), "output": b"".join(output.tobytes() for output in outputs)}
    return {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


if __name__ == "__main__":
    picture, *models = map(Path, sys.argv[1:])
    found = {model.name: digests(picture, model) for model in models}
    print(json.dumps({"machine": platform.machine(), "python": platform.python_version(), "models": found}))
