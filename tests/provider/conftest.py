"""The execution provider, built once and registered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest

from rocketnpu.provider import NAME
from rocketnpu.provider.build import build_provider


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The shared library, registered with ONNX Runtime in this process."""
    path = build_provider(tmp_path_factory.mktemp("provider") / "librocketnpu_provider.so")
    onnxruntime.register_execution_provider_library(NAME, str(path))
    yield path
    onnxruntime.unregister_execution_provider_library(NAME)
