"""What the comparisons with every runtime share: inputs, progress, and differences as text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rocketnpu.files.printable import printable, shows_progress

if TYPE_CHECKING:
    from rocketnpu.graph import Graph, Tensor
    from rocketnpu.inspect.compare import Difference, OperatorComparison, Tell

_SEED = 0
"""Of the noise that stands in for a picture."""


def inputs_of(graph: Graph, image: Path | None) -> list[Any]:
    """Return the picture as the model's input, or noise over the whole range of each input.

    Raises:
        InputError: the picture cannot be read, or the model's input is none.
    """
    if image is not None:
        from rocketnpu.scores import picture_input

        return [picture_input(image, graph)]
    return [_noise(graph.tensors[number], _SEED + place) for place, number in enumerate(graph.inputs)]


def _noise(tensor: Tensor, seed: int) -> Any:
    import numpy as np

    from rocketnpu.errors import UnsupportedError
    from rocketnpu.graph import DType

    if tensor.dtype is DType.OTHER:
        raise UnsupportedError(
            f"input {tensor.index} ({tensor.name}) is of an element type without numbers, such as strings"
        )
    random, kind = np.random.default_rng(seed), np.dtype(tensor.dtype.value)
    if kind.kind not in "iu":
        return random.uniform(-1, 1, tensor.shape).astype(kind)
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max, tensor.shape, kind, endpoint=True)


@contextmanager
def progress(total: int) -> Iterator[Tell]:
    """Show a bar on stderr if that is a terminal."""
    if not shows_progress():
        yield lambda _step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)

        def tell(step: str) -> None:
            progress.update(task, advance=1, description=printable(step))

        yield tell


def numbers(found: Difference | None) -> dict[str, float] | None:
    """Return a difference for JSON."""
    if found is None:
        return None
    shown = {"maximum": found.maximum, "share": found.share, "cosine": found.cosine}
    return {**shown, "differing": found.differing, "values": found.values}


def cells(found: Difference | None) -> tuple[str, str, str]:
    """Return the largest difference, the share and the cosine as text."""
    if found is None:
        return "", "", ""
    return str(found.maximum), f"{found.share:.3%}", f"{found.cosine:.6f}"


def verdict(row: OperatorComparison) -> str:
    """Say in a word whether an operator equals the integer model."""
    return {None: "", True: "equal", False: "DIFFERENT"}[row.equals_model]
