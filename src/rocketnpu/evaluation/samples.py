"""Pictures of which it is known what they show: a folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from rocketnpu.errors import InputError
from rocketnpu.vision.frames import PICTURES


@dataclass(frozen=True)
class Sample:
    """One picture."""

    number: int
    """Its place among all."""
    path: Path
    name: str
    """For reports: where it lies in the user's folder."""
    truth: int
    """A class of the model, or an image's number in an annotation file."""


def labelled_samples(folder: Path, names: Sequence[str]) -> list[Sample]:
    """Return a folder's pictures, by the names of classes and files.

    Args:
        folder: has a folder for each class, called by the class's name (blanks and underscores, capitals and small
            letters are the same) or by its number among the model's outputs.
        names: of the model's classes.

    Raises:
        InputError: a folder is called like no class, or like several; or there are no pictures.
    """
    try:
        classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        found = [
            (path, truth)
            for room, truth in ((room, _class_of(room, names)) for room in classes)
            for path in sorted(room.iterdir())
            if path.suffix.lower() in PICTURES
        ]
    except OSError as error:
        raise InputError(f"cannot read folder {error.filename}: {error.strerror}") from None
    if not found:
        raise InputError(
            f"{folder} has no pictures in folders called by the names of classes, as in {folder}/hen/1.jpg"
        )
    return [
        Sample(number, path, path.relative_to(folder).as_posix(), truth) for number, (path, truth) in enumerate(found)
    ]


def _class_of(folder: Path, names: Sequence[str]) -> int:
    wanted = _folded(folder.name)
    found = [number for number, name in enumerate(names) if _folded(name) == wanted]
    if not found:  # ImageNet's lists have words of one meaning: "tench, Tinca tinca"
        found = [number for number, name in enumerate(names) if wanted in map(_folded, name.split(","))]
    if not found and folder.name.isdecimal() and int(folder.name) < len(names):
        return int(folder.name)
    if len(found) == 1:
        return found[0]
    if found:
        numbers = " and ".join(map(str, found))
        raise InputError(f"{folder}: classes {numbers} are both called so; call the folder by the class's number")
    near = get_close_matches(wanted, [_folded(name) for name in names], 1)
    advice = f"; the nearest is {near[0]!r}" if near else ""
    raise InputError(f"{folder}: the model has no class of this name{advice} (or give labels, or a class's number)")


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def spread(samples: Sequence[Sample], most: int | None) -> list[Sample]:
    """Return at most so many of the samples, evenly from all."""
    if most is None or most >= len(samples):
        return list(samples)
    return [samples[place * len(samples) // most] for place in range(most)]
