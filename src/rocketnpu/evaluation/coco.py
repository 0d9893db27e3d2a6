"""Detectors on a COCO annotation file: average precision as COCO's own tool computes it."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rocketnpu.errors import InputError, UnsupportedError
from rocketnpu.evaluation.accuracy import Bad, bad_ones
from rocketnpu.evaluation.judge import Found, Verdict
from rocketnpu.evaluation.samples import Sample
from rocketnpu.files.limits import JSON_BYTES
from rocketnpu.files.reading import parse_json, read_file

MEASURES = (
    *("AP", "AP50", "AP75", "AP small", "AP medium", "AP large"),
    *("AR 1", "AR 10", "AR 100", "AR small", "AR medium", "AR large"),
)
"""COCO's twelve figures, in the order of its tool: average precision and recall, from 0 to 1."""
_NONE = -1.0
"""COCO's figure where there is nothing to measure."""


@dataclass(frozen=True)
class Annotations:
    """An annotation file, checked, and its pictures."""

    samples: list[Sample]
    """``truth`` is the image's number in the file."""
    categories: dict[str, int]
    """Numbers by name."""
    document: Mapping[str, Any]
    """Images, annotations and categories, for COCO's tool."""


@dataclass(frozen=True)
class Precision:
    """A whole evaluation. Measures by COCO's names; None where the file has nothing to measure."""

    pictures: int
    """That were judged."""
    bad: tuple[Bad, ...]
    unknown: tuple[str, ...]
    """The file's categories that the model has no class for."""
    reference: dict[str, float | None]
    chip: dict[str, float | None]
    difference: dict[str, float | None]


def read_annotations(path: Path, folder: Path) -> Annotations:
    """Read an annotation file.

    Args:
        path: the file, such as ``instances_val2017.json``.
        folder: where its pictures lie.

    Raises:
        InputError: it cannot be read, is no such file, or names a picture outside the folder.
    """
    try:
        found = parse_json(read_file(path, JSON_BYTES, "annotation file", InputError))
        document = _checked(found)
        samples = [
            Sample(number, folder / _inside(image["file_name"]), image["file_name"], image["id"])
            for number, image in enumerate(document["images"])
        ]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is no COCO annotation file: {reason}") from None
    if not samples:
        raise InputError(f"{path} has no images")
    return Annotations(samples, {one["name"]: one["id"] for one in document["categories"]}, document)


def _checked(document: Any) -> dict[str, Any]:
    """Return what of a document counts, of the right types.

    Raises:
        ValueError, KeyError, TypeError, OverflowError: it is something else.
    """
    images = [{"id": _number(one["id"]), "file_name": _text(one["file_name"])} for one in document["images"]]
    categories = [{"id": _number(one["id"]), "name": _text(one["name"])} for one in document["categories"]]
    for what, entries in (("images", images), ("categories", categories)):
        if len({one["id"] for one in entries}) < len(entries):
            raise ValueError(f"two {what} have one id")
    known = [{one["id"] for one in entries} for entries in (images, categories)]
    annotations = []
    for number, one in enumerate(document["annotations"], 1):
        image, category = _number(one["image_id"]), _number(one["category_id"])
        if image not in known[0] or category not in known[1]:
            raise ValueError(f"annotation {number} is of an image or a category that is not there")
        box = [float(edge) for edge in one["bbox"]]
        area = float(one.get("area", math.prod(box[2:])))
        if len(box) != 4 or not all(map(math.isfinite, (*box, area))):
            raise ValueError(f"annotation {number} has no box of four numbers")
        crowd = int(bool(one.get("iscrowd", 0)))
        annotations.append(
            {"id": number, "image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": crowd}
        )
    return {"images": images, "categories": categories, "annotations": annotations}


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"an id is {value!r:.40}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name is {value!r:.40}")
    return value


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"picture {name!r:.80} lies outside the folder")
    return path


def precision(annotations: Annotations, verdicts: Sequence[Verdict], names: Sequence[str]) -> Precision:
    """Compute average precision of both; pictures that could not be read are left out.

    Args:
        annotations: the truth.
        verdicts: of its samples, or of some.
        names: of the model's classes: they find the categories of the same names.

    Raises:
        UnsupportedError: COCO's tool is not installed.
        InputError: the model has none of the file's categories.
    """
    evaluate = require_tool()
    classes = {
        number: annotations.categories[name] for number, name in enumerate(names) if name in annotations.categories
    }
    if not classes:
        raise InputError(f"the model has no class of the file's categories: {', '.join(annotations.categories)[:200]}")
    images = {sample.number: sample.truth for sample in annotations.samples}
    good = sorted((one for one in verdicts if not one.error), key=lambda one: one.number)
    judged = [images[one.number] for one in good]
    sides: list[dict[str, float | None]] = []
    for found in ([one.reference_found for one in good], [one.chip_found for one in good]):
        results = [row for image, boxes in zip(judged, found, strict=True) for row in _rows(image, boxes, classes)]
        sides.append(evaluate(annotations.document, results, judged, sorted(classes.values())))
    apart = {
        name: None if one is None or other is None else other - one
        for (name, one), other in zip(sides[0].items(), sides[1].values(), strict=True)
    }
    unknown = tuple(sorted(set(annotations.categories) - set(names)))
    return Precision(len(good), bad_ones(annotations.samples, verdicts), unknown, sides[0], sides[1], apart)


def _rows(image: int, found: Found, classes: Mapping[int, int]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image,
            "category_id": classes[number],
            "score": score,
            "bbox": [left, top, right - left, bottom - top],
        }
        for number, score, (left, top, right, bottom) in found
        if number in classes
    ]


def require_tool() -> Callable[..., dict[str, float | None]]:
    """Return COCO's tool as a function.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        text = "annotation files need the package pycocotools: pip install 'rocketnpu[evaluate]'"
        raise UnsupportedError(text) from None

    def evaluate(
        document: Mapping[str, Any], results: list[dict[str, Any]], images: list[int], categories: list[int]
    ) -> dict[str, float | None]:
        if not results:
            return dict.fromkeys(MEASURES, 0.0)
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of each step
            truth = COCO()
            truth.dataset = dict(document)
            truth.createIndex()
            run = COCOeval(truth, truth.loadRes(results), "bbox")
            run.params.imgIds, run.params.catIds = images, categories
            run.evaluate()
            run.accumulate()
            run.summarize()
        figures = map(float, run.stats)
        return {name: None if value == _NONE else value for name, value in zip(MEASURES, figures, strict=True)}

    return evaluate
