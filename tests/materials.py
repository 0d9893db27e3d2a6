"""Where tests find what is not in the project."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def find_shared() -> Path | None:
    """Look for the folder of recordings, models and documents: ROCKETNPU_SHARED, or ``shared`` beside the checkout."""
    named = os.environ.get("ROCKETNPU_SHARED")
    places = [Path(named)] if named else [CHECKOUT.parent / "shared", CHECKOUT / "shared"]
    return next((place for place in places if place.is_dir()), None)
