"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parents[1]

settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("repeatable")


def find_shared() -> Path | None:
    """Look for the folder of recordings, models and documents: ROCKETNPU_SHARED, or ``shared`` beside the checkout."""
    named = os.environ.get("ROCKETNPU_SHARED")
    places = [Path(named)] if named else [CHECKOUT.parent / "shared", CHECKOUT / "shared"]
    return next((place for place in places if place.is_dir()), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder; the test is skipped where there is none."""
    found = find_shared()
    if found is None:
        pytest.skip("no shared folder: set ROCKETNPU_SHARED, or place 'shared' beside the checkout")
    return found
