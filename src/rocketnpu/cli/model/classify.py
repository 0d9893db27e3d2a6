"""``rocketnpu classify``: what is in the picture, and how long the NPU took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from rocketnpu.cli.output import chip_option, echo, json_option, model_option, print_json, target_option


@click.command()
@click.option("-i", "--image", required=True, type=click.Path(path_type=Path), help="Picture to classify.")
@model_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Picture to write, with the classes in it.")
@click.option("-l", "--labels", type=click.Path(path_type=Path), help="Names of the classes, one a line.")
@click.option("-d", "--device", default="auto", show_default=True, help="auto, simulator, rocket, rknpu or etnaviv.")
@click.option("--allow-unproven", is_flag=True, help="On an NPU: use hardware rules that nobody has proven.")
@click.option("-n", "--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes to print.")
@chip_option
@target_option
@json_option
def classify(
    image: Path,
    model: str,
    output: Path | None,
    labels: Path | None,
    device: str,
    allow_unproven: bool,
    top: int,
    chip: str,
    target: str,
    as_json: bool,
) -> None:
    """Classify a picture with every supported operator on the NPU, or on the simulator where there is none.

    The time is that of one inference after a first one: reading, compiling and the first run's set-up do not count.
    """
    from rocketnpu.errors import InputError
    from rocketnpu.files.writing import check_apart
    from rocketnpu.inference import Inference
    from rocketnpu.inspect.board import board_remark
    from rocketnpu.labels import read_labels
    from rocketnpu.model.files import read
    from rocketnpu.policy import Policy
    from rocketnpu.scores import output_tensor, picture_input, probabilities
    from rocketnpu.zoo import labels_for, resolve

    if output is not None:
        check_apart(output, image, "picture", InputError)
    path = resolve(model)
    graph = read(path)
    classes = output_tensor(graph).elements
    found = labels or labels_for(path)
    names = read_labels(found, classes) if found else tuple(f"class {number}" for number in range(classes))
    picture = picture_input(image, graph)
    wanted = "auto" if target == "simulator" else target
    with Inference(path, device=device, allow_unproven=allow_unproven, chip=chip, target=wanted) as inference:
        inference.run([picture])
        start = time.perf_counter()
        (values,) = inference.run([picture])
        elapsed = time.perf_counter() - start
        executor = inference.device_name
    remark = board_remark(graph, Policy(chip=chip)) if executor == target == "simulator" else ""
    scores = probabilities(graph, values)
    best = [(float(scores[number]), names[number]) for number in (-scores).argsort(kind="stable")[:top]]
    if output is not None:
        _write(output, image, [f"{score:.2f} {name}" for score, name in best])
    if as_json:
        results = [{"score": score, "label": name} for score, name in best]
        print_json({"results": results, "milliseconds": elapsed * 1e3, "device": executor, "remark": remark})
        return
    for score, name in best:
        echo(f"{score:.2f}: {name}")
    echo(f"time: {elapsed * 1e3:.1f}ms")
    echo(f"device: {executor}", err=True)
    if remark:
        echo(f"note: {remark}", err=True)


def _write(output: Path, image: Path, lines: Sequence[str]) -> None:
    """Write the picture with lines in it."""
    from rocketnpu.errors import InputError
    from rocketnpu.files.writing import write_file
    from rocketnpu.pictures import read_pixels
    from rocketnpu.vision.drawing import caption
    from rocketnpu.vision.frames import encode_picture

    write_file(output, encode_picture(output, caption(read_pixels(image), lines)), "picture", InputError)
