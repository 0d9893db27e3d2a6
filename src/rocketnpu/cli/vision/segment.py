"""``rocketnpu segment``: of what class each pixel of pictures or a video is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rocketnpu.cli.vision.looking import Asked, Look, look_through, looking_options

if TYPE_CHECKING:
    from rocketnpu.vision.segmenter import Regions

_LEAST = 0.01
"""Share of a picture from which a class is printed; the numbers have all."""


@click.command()
@looking_options
def segment(**asked: Any) -> None:
    """Say which parts of a picture, a folder of pictures or a video are what, and write them out in colours.

    Known are models that give a map of scores or of classes, as DeepLab does. Class 0, mostly the background, is not
    coloured. Everything else is as `detect` has it.
    """
    from rocketnpu.vision.drawing import paint
    from rocketnpu.vision.segmenter import Segmenter

    def start(model: Path, options: dict[str, Any]) -> Segmenter:
        return Segmenter(model, labels, **options)

    labels = asked["labels"]
    look_through(Asked(**asked), start, lambda segmenter: Look(segmenter.segment, paint, _lines, _document))


def _document(found: Regions) -> dict[str, Any]:
    regions = [{"label": found.name(n), "number": n, "share": share} for n, share in found.shares().items()]
    return {"regions": regions}


def _lines(found: Regions, alone: bool) -> Sequence[str]:
    del alone
    shares = found.shares().items()
    return [f"{share:.0%} {found.name(number)}" for number, share in shares if share >= _LEAST]
