"""What all tests share."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from materials import find_shared
from rocketnpu import zoo
from rocketnpu.errors import FetchError

pytest_plugins = ["device_fixtures"]

settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("repeatable")


WITHOUT_LITERT = (
    *("graph", "program", "test_fields.py", "test_labels.py", "test_pictures.py"),
    *("model/test_flatbuffer.py", "model/test_tflite.py"),
)
"""Rooms and files of tests that a Debian package's build runs, where there is no LiteRT: what needs it there says so
with the mark ``litert``, and what does not say so does not find it, wherever it runs.
"""


@pytest.fixture(autouse=True)
def litert_only_where_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide LiteRT from the tests that have to pass without it."""
    tests = Path(__file__).parent
    apart = any(request.path.is_relative_to(tests / place) for place in WITHOUT_LITERT)
    if apart and request.node.get_closest_marker("litert") is None:
        monkeypatch.setitem(sys.modules, "ai_edge_litert", None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder; the test is skipped where there is none."""
    found = find_shared()
    if found is None:
        pytest.skip("no shared folder: set ROCKETNPU_SHARED, or place 'shared' beside the checkout")
    return found


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A stream that passes for a terminal, for ``contextlib.redirect_stderr``."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    return _Terminal()


def find_mobilenet_v1() -> Path | None:
    """Look for MobileNetV1 1.0 224 in the shared folder, then in the user's cache; nothing is fetched.

    The publisher's file and Debian's have other bytes, but the same tensors.
    """
    model = zoo.named("mobilenet_v1")
    folder = find_shared()
    path = folder / "models" / model.model.name if folder else None
    if path is not None and path.is_file():
        return path
    try:
        return zoo.Cache().find(model, model.model)
    except FetchError:  # no place for a cache
        return None


@pytest.fixture(scope="session")
def mobilenet_v1() -> Path:
    """MobileNetV1 1.0 224; the test is skipped where it has not been fetched."""
    found = find_mobilenet_v1()
    if found is None:
        pytest.skip("no MobileNetV1: run scripts/hens once, or set ROCKETNPU_SHARED")
    return found


@pytest.fixture(scope="session")
def mobilenet_labels(mobilenet_v1: Path) -> Path:
    """The names of MobileNetV1's 1001 classes."""
    folder = find_shared()
    path = folder / "labels" / "labels_mobilenet_quant_v1_224.txt" if folder else None
    if path is not None and path.is_file():
        return path
    found = zoo.labels_for(mobilenet_v1)
    if found is None:
        pytest.skip("no labels for MobileNetV1: run scripts/hens once, or set ROCKETNPU_SHARED")
    return found


@pytest.fixture(scope="session")
def mobiledet() -> Path:
    """SSDLite MobileDet; the test is skipped where it has not been fetched."""
    model = zoo.named("ssdlite_mobiledet")
    try:
        found = zoo.Cache().find(model, model.model)
    except FetchError:  # no place for a cache
        found = None
    if found is None:
        pytest.skip("no SSDLite MobileDet: run `rocketnpu models get ssdlite_mobiledet` once")
    return found
