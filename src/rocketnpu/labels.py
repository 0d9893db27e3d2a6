"""Names of a classifier's outputs, read from a labels file."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from rocketnpu.errors import InputError
from rocketnpu.files.limits import LABEL_DIGITS, LABELS_BYTES
from rocketnpu.files.reading import read_file

BACKGROUND = "background"
_NUMBERED = re.compile(rf"([0-9]{{1,{LABEL_DIGITS}}})(?:\s*[:,]\s*|\s+)(\S.*)$")


def read_labels(path: str | Path, outputs: int | None) -> tuple[str, ...]:
    """Return the names of a model's ``outputs``, so that ``names[i]`` belongs to output ``i``.

    The file is UTF-8 with one label a line, either the name alone or, on every line, a number and the name (``7 cock``,
    ``7: cock``, ``7,cock``). Numbers that run on from 0 or 1 give the order only; others are indices of outputs, and
    what they leave out is called ``class N``. A file with one label less than the model has outputs lacks the
    background class, which is then put first. Where nobody knows how many outputs there are (None), all labels count.

    Raises:
        InputError: the file cannot be read, is not text, or the number of its labels does not fit ``outputs``.
    """
    path = Path(path)
    lines = _lines(path)
    outputs = len(lines) if outputs is None else outputs
    numbered = [_NUMBERED.match(line) for line in lines]
    pairs = [(int(match[1]), match[2]) for match in numbered if match]
    if len(pairs) == len(lines):
        numbers = sorted(number for number, _ in pairs)
        if len(set(numbers)) < len(numbers):
            twice = next(a for a, b in pairwise(numbers) if a == b)
            raise InputError(f"labels file {path}: number {twice} is given twice")
        if numbers[0] > 1 or numbers[-1] - numbers[0] != len(numbers) - 1:
            return _sparse(path, dict(pairs), outputs)
        lines = [name for _, name in sorted(pairs)]
    if len(lines) == outputs:
        return tuple(lines)
    if len(lines) == outputs - 1:
        return (BACKGROUND, *lines)
    raise InputError(
        f"labels file {path} has {len(lines)} labels, but the model has {outputs} outputs "
        f"(or {outputs - 1} without the background class)"
    )


def _sparse(path: Path, names: dict[int, str], outputs: int) -> tuple[str, ...]:
    highest = max(names)
    if highest >= outputs:
        raise InputError(f"labels file {path} has a label for output {highest}, but the model has {outputs} outputs")
    return tuple(names.get(index, f"class {index}") for index in range(outputs))


def _lines(path: Path) -> list[str]:
    data = read_file(path, LABELS_BYTES, "labels file", InputError)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"labels file {path} is not UTF-8 text (at byte {error.start})") from None
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if lines == [""]:
        raise InputError(f"labels file {path} is empty")
    return lines
