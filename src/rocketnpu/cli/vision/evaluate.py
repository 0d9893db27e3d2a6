"""``rocketnpu evaluate``: how often a model is right, on the chip and without it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rocketnpu.cli.output import chip_option, counted, echo, json_option, model_option, print_json, print_table
from rocketnpu.files.printable import shows_progress

if TYPE_CHECKING:
    from rocketnpu.evaluation.accuracy import Accuracy, Bad
    from rocketnpu.evaluation.coco import Precision
    from rocketnpu.evaluation.judge import Task, Verdict
    from rocketnpu.evaluation.samples import Sample

_WORTH_A_PROCESS = 32
"""Pictures that take about as long as a process to start."""
_SHOWN = 10
"""Mistakes, and bad pictures, that are printed; JSON has them all."""


@click.command()
@model_option
@click.option(
    "-d", "--data", required=True, type=click.Path(path_type=Path), help="A folder for each class, or COCO's JSON."
)
@click.option(
    "--pictures", type=click.Path(path_type=Path), help="Where the pictures of COCO's JSON are, if not beside."
)
@click.option("-l", "--labels", type=click.Path(path_type=Path), help="Names of the classes, one a line.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Take so many pictures, evenly from all.")
@click.option("-w", "--workers", type=click.IntRange(1, 256), help="Processes; as many as cores if not given.")
@click.option("--dask", metavar="ADDRESS", help="Work on this Dask cluster, as at tcp://host:8786.")
@click.option("--device", default="auto", show_default=True, help="The simulator, or a kernel driver by name.")
@click.option("--allow-unproven", is_flag=True, help="On an NPU: use hardware rules that nobody has proven.")
@chip_option
@json_option
def evaluate(
    model: str,
    data: Path,
    pictures: Path | None,
    labels: Path | None,
    count: int | None,
    workers: int | None,
    dask: str | None,
    device: str,
    allow_unproven: bool,
    chip: str,
    as_json: bool,
) -> None:
    """Say how often a model is right: by LiteRT's or ONNX Runtime's own kernels, on the chip, and the difference.

    A classifier is asked about a folder that has a folder of pictures for each class, called by the class's name or
    number: top-1, top-5, and what was taken for what. A detector is asked about an annotation file of COCO's: average
    precision. Pictures that cannot be read are named and left out.
    """
    from rocketnpu.errors import InputError
    from rocketnpu.evaluation.judge import Task, digest_of
    from rocketnpu.zoo import resolve

    path = resolve(model)
    if not data.exists():
        raise InputError(f"there is no {data}")
    detects = not data.is_dir()
    if pictures is not None and not detects:
        raise InputError("--pictures belongs to an annotation file, and --data is a folder")
    options = {"device": _found(device, chip), "allow_unproven": allow_unproven, "chip": chip}
    task = Task(path.absolute(), digest_of(path), labels and labels.absolute(), detects, options)
    samples, summarise, show = _detector(task, data, pictures) if detects else _classifier(task, data)
    from rocketnpu.evaluation.samples import spread
    from rocketnpu.evaluation.work import cluster_verdicts, verdicts

    chosen = spread(samples, count)
    start = time.perf_counter()
    if dask is None:
        working = workers or max(1, min(len(os.sched_getaffinity(0)), len(chosen) // _WORTH_A_PROCESS))
        found = list(_with_bar(verdicts(task, chosen, working), len(chosen)))
    else:
        found = list(_with_bar(cluster_verdicts(task, chosen, dask), len(chosen)))
        _same_here(task, chosen, found)
    elapsed = time.perf_counter() - start
    result = summarise(found)
    if not result.pictures:
        raise InputError(f"none of {counted(len(chosen), 'picture')} can be read; the first: {result.bad[0].reason}")
    if as_json:
        print_json({"model": model, "data": data, "device": options["device"], **asdict(result)})
    else:
        show(result)
        _show_bad(result.bad)
    rate = len(chosen) / elapsed
    told = f"{counted(len(chosen), 'picture')} in {elapsed:.1f} s, {rate:.1f} a second, on {options['device']}"
    echo(told, err=True)


def _found(device: str, chip: str) -> str:
    """Say which device "auto" is, so that all workers use the same kind."""
    from rocketnpu.device.discover import open_device

    if device != "auto":
        return device
    with open_device(device, chip=chip) as opened:
        return opened.name


def _classifier(task: Task, folder: Path) -> Any:
    """Return a labelled folder's samples, and how verdicts are summed up and shown."""
    from rocketnpu.evaluation.accuracy import accuracy
    from rocketnpu.evaluation.samples import labelled_samples
    from rocketnpu.labels import read_labels
    from rocketnpu.model.files import read
    from rocketnpu.scores import input_tensor, output_tensor
    from rocketnpu.zoo import labels_for

    graph = read(task.model)
    input_tensor(graph)
    classes = output_tensor(graph).elements
    file = task.labels or labels_for(task.model)
    names = read_labels(file, classes) if file else tuple(f"class {number}" for number in range(classes))
    samples = labelled_samples(folder, names)
    return samples, lambda found: accuracy(samples, found, names), _show_accuracy


def _detector(task: Task, file: Path, pictures: Path | None) -> Any:
    """Return an annotation file's samples, and how verdicts are summed up and shown."""
    from rocketnpu.evaluation.coco import precision, read_annotations, require_tool
    from rocketnpu.model.files import read
    from rocketnpu.vision.detector import named_head
    from rocketnpu.vision.model import picture_size

    require_tool()
    graph = read(task.model)
    _, names = named_head(graph, picture_size(graph), task.labels)
    annotations = read_annotations(file, (pictures or file.parent).absolute())
    return annotations.samples, lambda found: precision(annotations, found, names), _show_precision


def _same_here(task: Task, samples: Sequence[Sample], found: Sequence[Verdict]) -> None:
    """Make sure that pictures that a cluster could not read cannot be read here either.

    Raises:
        InputError: one can: the workers do not see this machine's files.
    """
    from rocketnpu.errors import InputError
    from rocketnpu.pictures import read_pixels

    paths = {sample.number: sample.path for sample in samples}
    for one in found:
        if not one.error:
            continue
        try:
            read_pixels(paths[one.number])
        except InputError:
            continue
        raise InputError(f"a worker of the cluster cannot read what can be read here: {one.error}")


def _with_bar(found: Iterable[Verdict], total: int) -> Iterator[Verdict]:
    """Show a bar on stderr if that is a terminal."""
    if not shows_progress():
        yield from found
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(found, "evaluating", total, console=Console(stderr=True), transient=True)


def _show_accuracy(result: Accuracy) -> None:
    one, other, apart = result.reference, result.chip, result.difference
    rows = [
        ("top-1", f"{one.top1:.2%}", f"{other.top1:.2%}", f"{100 * apart.top1:+.2f}"),
        ("top-5", f"{one.top5:.2%}", f"{other.top5:.2%}", f"{100 * apart.top5:+.2f}"),
    ]
    print_table(("", "reference", "chip", "points"), rows, right=("reference", "chip", "points"))
    echo(
        f"{counted(result.pictures, 'picture')}: the same answer to {apart.same_answer}; only the reference is right "
        f"on {apart.only_reference_right}, only the chip on {apart.only_chip_right}; outputs differ by at most "
        f"{apart.largest:g}"
    )
    wrong = sorted((cell for cell in other.confusion if cell.truth != cell.answer), key=lambda cell: -cell.count)
    if wrong:
        echo()
        cells = [(str(cell.count), cell.truth, cell.answer) for cell in wrong[:_SHOWN]]
        print_table(("pictures", "that show", "the chip takes for"), cells, right=("pictures",))
        _more(len(wrong), "mistake")


def _show_precision(result: Precision) -> None:
    rows = []
    for name, one in result.reference.items():
        values = (one, result.chip[name], result.difference[name])
        texts = ["-" if value is None else f"{value:.3f}" for value in values[:2]]
        rows.append((name, *texts, "-" if values[2] is None else f"{values[2]:+.3f}"))
    print_table(("", "reference", "chip", "difference"), rows, right=("reference", "chip", "difference"))
    echo(counted(result.pictures, "picture"))
    if result.unknown:
        echo(f"the model has no class for {', '.join(result.unknown)}")


def _show_bad(bad: Sequence[Bad]) -> None:
    if not bad:
        return
    echo()
    echo(f"{counted(len(bad), 'picture')} could not be read:", err=True)
    for one in bad[:_SHOWN]:
        echo(f"{one.name}: {one.reason}", err=True)
    _more(len(bad), "picture", err=True)


def _more(number: int, noun: str, *, err: bool = False) -> None:
    if number > _SHOWN:
        echo(f"and {counted(number - _SHOWN, f'more {noun}')}", err=err)
