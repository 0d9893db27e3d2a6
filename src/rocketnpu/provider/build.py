"""Build ``librocketnpu_provider.so``, the execution provider that ONNX Runtime loads."""

from __future__ import annotations

from pathlib import Path

from rocketnpu.delegate.build import Shell, build
from rocketnpu.model.onnx.proto import require_onnx

PROVIDER = Shell(
    "librocketnpu_provider.so",
    "rocketnpu.provider",
    "shell.c",
    "rocketnpu.provider.library",
    "build-provider",
    "the execution provider",
    "or use rocketnpu.Inference, which needs none",
)


def build_provider(output: Path) -> Path:
    """Compile the library to ``output`` and return its absolute path.

    Raises:
        UnsupportedError: the ``onnx`` package is not installed, which it needs to read networks.
        InputError: there is no C compiler, it failed, or ``output`` cannot be written.
    """
    require_onnx()
    return build(output, PROVIDER)
