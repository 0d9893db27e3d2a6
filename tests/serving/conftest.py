"""Small models, and a server for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

REASON = "is not installed (pip install 'rocketnpu[serve]' 'tritonclient[http]')"
for package in ("starlette", "uvicorn", "prometheus_client", "zmq", "tritonclient", "httpx"):
    pytest.importorskip(package, reason=f"{package} {REASON}")

from served import Served  # noqa: E402

from picture_models import classifier, detector  # noqa: E402


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small models."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "classifier.tflite").write_bytes(classifier())
    (folder / "detector.tflite").write_bytes(detector())
    return folder


@pytest.fixture(scope="session")
def served(models: Path) -> Iterator[Served]:
    """A server of both, with Frigate's endpoint."""
    files = [word for name in ("classifier", "detector") for word in ("-m", models / f"{name}.tflite")]
    with Served(*files, "--frigate", f"ipc://{models}/frigate", "-c", 2, "--megabytes", 1) as server:
        yield server
