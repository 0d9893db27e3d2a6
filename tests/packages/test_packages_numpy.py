"""The same programs, whichever NumPy compiles them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from fresh import call, heavy

from process_digest import digest

pytestmark = [heavy, pytest.mark.usefixtures("registry")]

VERSIONS = ("1.24.2", "1.26.4", "2.0.2", "2.2.6")
"""The oldest that is supported, the last of the first generation, and two of the second; beside the one at hand."""


@pytest.fixture(scope="module")
def expected() -> str:
    return digest()


@pytest.mark.parametrize("version", VERSIONS)
def test_programs_do_not_depend_on_the_version_of_numpy(version: str, expected: str, tmp_path: Path) -> None:
    if sys.version_info[:2] != (3, 11):
        pytest.skip("these versions have no wheels for one Python but 3.11")
    assert version != np.__version__
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:")
    call([*pip, "--target", str(tmp_path), f"numpy=={version}"], tmp_path)
    found = call(
        [sys.executable, "-c", "import numpy; print(numpy.__version__)"], tmp_path, {"PYTHONPATH": str(tmp_path)}
    )
    assert found.stdout.strip() == version
    paths = os.pathsep.join((str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])))
    assert digest(PYTHONPATH=paths) == expected
