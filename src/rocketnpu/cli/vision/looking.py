"""What verbs that look at pictures share: many frames on all cores, drawn, written and counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import click

from rocketnpu.cli.output import (
    Decorated,
    chip_option,
    counted,
    echo,
    json_option,
    model_option,
    print_json,
    target_option,
)
from rocketnpu.files.printable import shows_progress

if TYPE_CHECKING:
    from rocketnpu.errors import RocketError
    from rocketnpu.graph import Graph
    from rocketnpu.vision.frames import Frame, Frames
    from rocketnpu.vision.letterbox import Pixels
    from rocketnpu.vision.many import Seen

Found = TypeVar("Found")


@dataclass(frozen=True)
class Look(Generic[Found]):
    """What a verb does with a frame."""

    find: Callable[[Pixels], Found]
    """What a model says of it; called from several threads at once."""
    draw: Callable[[Pixels, Found], Pixels]
    """The frame with that drawn in it."""
    tell: Callable[[Found, bool], Sequence[str]]
    """Lines for people; the truth says whether it is the only frame, else there is one line."""
    document: Callable[[Found], dict[str, Any]]
    """The same for programs."""


class Looker(AbstractContextManager[Any], Protocol):
    """A model on a device."""

    graph: Graph

    @property
    def device_name(self) -> str:
        """Name of the device."""

    @property
    def chip(self) -> str:
        """Name of its chip."""


@dataclass(frozen=True)
class Asked:
    """What a user asks of every verb that looks at pictures."""

    source: Path
    model: str
    labels: Path | None
    output: Path | None
    device: str
    cores: int | None
    allow_unproven: bool
    chip: str
    target: str
    as_json: bool


def looking_options(function: Decorated) -> Decorated:
    """Add the options of :class:`Asked`."""
    path = click.Path(path_type=Path)
    for option in (
        json_option,
        target_option,
        chip_option,
        click.option("--allow-unproven", is_flag=True, help="On an NPU: use hardware rules that nobody has proven."),
        click.option("-c", "--cores", type=click.IntRange(1, 16), help="NPU cores; all for a folder or a video."),
        click.option("-d", "--device", default="auto", show_default=True, help="The simulator, or a driver by name."),
        click.option("-o", "--output", type=path, help="Picture, folder or video to write, with what is found."),
        click.option("-l", "--labels", type=path, help="Names of the classes, a line each."),
        model_option,
        click.option(
            "-i", "--input", "source", required=True, type=path, help="Picture, folder of pictures, or video."
        ),
    ):
        function = option(function)
    return function


@dataclass(frozen=True)
class Where:
    """What looks, and how many at a time."""

    device: str
    chip: str
    cores: int
    in_flight: int


class Sink(ExitStack):
    """Where drawn frames go: nowhere, a picture, a folder or a video."""

    def __init__(self, source: Path, output: Path | None, frames: Frames) -> None:
        """Check that the output is of the source's kind, and not the source.

        Raises:
            InputError: it is not, or it is.
        """
        super().__init__()
        self._output, self._frames, self._many = output, frames, source.is_dir()
        self._video: Any = None
        if output is None:
            return
        from rocketnpu.errors import InputError
        from rocketnpu.files.writing import check_apart

        if self._many and not output.is_dir():
            raise InputError(f"{source} is a folder: -o must be one too, and {output} is none")
        check_apart(output, source, "what is drawn to", InputError)

    @property
    def is_open(self) -> bool:
        """Whether anything is written."""
        return self._output is not None

    def encode(self, frame: Frame, pixels: Pixels) -> tuple[Path, bytes] | Pixels:
        """Return a picture as its file's path and bytes; frames of a video as they are. Works from any thread.

        Raises:
            InputError: the picture would be written over itself, or its ending is none of a picture.
        """
        from rocketnpu.errors import InputError
        from rocketnpu.files.writing import check_apart
        from rocketnpu.vision.frames import encode_picture

        assert self._output is not None
        if not isinstance(frame.source, Path):
            return pixels
        path = self._output / frame.name if self._many else self._output
        check_apart(path, frame.source, "picture", InputError)
        return path, encode_picture(path, pixels)

    def write(self, made: tuple[Path, bytes] | Pixels | None) -> None:
        """Write what :meth:`encode` made, in the order of frames."""
        from rocketnpu.errors import InputError
        from rocketnpu.files.writing import write_file
        from rocketnpu.vision.frames import VideoWriter

        if isinstance(made, tuple):
            write_file(made[0], made[1], "picture", InputError)
        elif made is not None and self._output is not None and self._frames.rate is not None:
            self._video = self._video or self.enter_context(VideoWriter(self._output, self._frames.rate))
            self._video.write(made)


def cores_for(wanted: int | None, frames: int, device: str, chip: str) -> int:
    """Return how many cores work: those asked for, else one for one frame, all that the device's chip has for more.

    Raises:
        DeviceError: the device is not there.
    """
    from rocketnpu.device.discover import open_device
    from rocketnpu.family import family_of

    if wanted is not None:
        return wanted
    if frames == 1:
        return 1
    with open_device(device, chip=chip) as opened:
        return family_of(opened.chip).cores


def look_through(
    asked: Asked, start: Callable[[Path, dict[str, Any]], Looker], look_of: Callable[[Any], Look[Any]]
) -> None:
    """Open what is asked for, and look at it.

    Args:
        asked: what the user asks.
        start: makes a model on a device, given its path and the options of
            :class:`~rocketnpu.inference.Inference`.
        look_of: says what that does with a frame.

    Raises:
        RocketError: something cannot be opened, or as :func:`look_at`.
    """
    from rocketnpu.device.group import IN_FLIGHT
    from rocketnpu.vision.frames import Opened
    from rocketnpu.zoo import resolve

    path = resolve(asked.model)
    wanted = "auto" if asked.target == "simulator" else asked.target
    options = {"device": asked.device, "allow_unproven": asked.allow_unproven, "chip": asked.chip, "target": wanted}
    with ExitStack() as stack:
        frames = stack.enter_context(Opened(asked.source)).frames
        sink = stack.enter_context(Sink(asked.source, asked.output, frames))
        cores = cores_for(asked.cores, frames.count(), asked.device, asked.chip)
        in_flight = 1 if frames.count() == 1 else IN_FLIGHT * cores
        looker = stack.enter_context(start(path, {**options, "cores": cores, "in_flight": in_flight}))
        where = Where(looker.device_name, looker.chip, cores, in_flight)
        look_at(asked.source, frames, sink, look_of(looker), where, looker.graph, as_json=asked.as_json)


def look_at(
    source: Path, frames: Frames, sink: Sink, look: Look[Any], where: Where, graph: Graph, *, as_json: bool
) -> None:
    """Look at all frames, print what is found, write what is drawn, and say how fast it was.

    Raises:
        SomeFailedError: pictures of a folder could not be read, or inferences failed; the others are done.
        RocketError: that of the only frame, or of a video's.
    """
    from rocketnpu.errors import SomeFailedError
    from rocketnpu.vision.many import see_all

    def make(frame: Frame, pixels: Pixels, found: Any) -> tuple[Path, bytes] | Pixels | None:
        return sink.encode(frame, look.draw(pixels, found)) if sink.is_open else None

    start, told, ends = time.perf_counter(), [], []
    alone, goes_on = frames.count() == 1, frames.rate is None and frames.count() != 1
    for frame, future in _with_bar(see_all(look.find, frames, make, where.in_flight), frames.count()):
        error = _error(future, goes_on=goes_on)
        ends.append(error)
        if error is not None:
            told += [{"name": frame.name, "seconds": frame.seconds, "error": str(error)}] if as_json else []
            echo(f"{frame.name}: {error}", err=True)
            continue
        seen = future.result()
        sink.write(seen.made)
        if as_json:  # all of them together: a day of video is told frame by frame only as text
            told.append({"name": frame.name, "seconds": frame.seconds, **look.document(seen.found)})
            continue
        lines = look.tell(seen.found, alone)
        for line in lines if alone else [f"{frame.name}: {', '.join(lines)}"]:
            echo(line)
    _finish(told, len(ends), time.perf_counter() - start, where, graph, str(source), as_json=as_json)
    if any(ends):
        raise SomeFailedError(ends)


def _error(future: Future[Seen[Any, Any]], *, goes_on: bool) -> RocketError | None:
    """Return a frame's error where others go on; raise it otherwise, as what is a fault of this package."""
    from rocketnpu.errors import RocketError

    error = future.exception()
    if error is None:
        return None
    if goes_on and isinstance(error, RocketError):
        return error
    raise error


def _with_bar(
    results: Iterable[tuple[Frame, Future[Seen[Any, Any]]]], total: int
) -> Iterator[tuple[Frame, Future[Seen[Any, Any]]]]:
    """Show a bar on stderr if that is a terminal and there are several frames."""
    if total == 1 or not shows_progress():
        yield from results
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(results, "looking", total or None, console=Console(stderr=True), transient=True)


def _finish(
    told: Sequence[dict[str, Any]],
    count: int,
    elapsed: float,
    where: Where,
    graph: Graph,
    source: str,
    *,
    as_json: bool,
) -> None:
    rate = count / elapsed if elapsed else 0.0
    board = _board(graph, where.chip, where.cores)
    if as_json:
        document = {"source": source, "device": where.device, "cores": where.cores, "frames": told}
        print_json({**document, "frames per second": rate, "estimate for the board": board})
        return
    on = f"on {where.device}" + (f" with {where.cores} cores" if where.cores > 1 else "")
    echo(f"{counted(count, 'frame')} in {elapsed:.1f} s, {rate:.1f} a second, {on}", err=True)
    if board is not None:
        echo(
            f"estimate for a board with {counted(where.cores, 'core')} and the mainline driver: "
            f"{board['milliseconds']:.1f} ms a frame ({board['low']:.1f} to {board['high']:.1f}), at most "
            f"{board['frames per second']:.1f} a second; without reading, drawing and "
            f"{counted(board['operators on the CPU'], 'operator')} on the CPU",
            err=True,
        )


def _board(graph: Graph, chip: str, cores: int) -> dict[str, Any] | None:
    """Estimate the model's time on a board; None where there is no timing model of the chip, or nothing to time."""
    from rocketnpu.errors import UnsupportedError
    from rocketnpu.estimate.estimate import Conditions
    from rocketnpu.estimate.sources import estimate_model

    try:
        found = estimate_model(graph, Conditions(cores=cores), chip, allow_unproven=False)
    except UnsupportedError:
        return None
    low, high = found.range_us
    return {
        "milliseconds": found.total_us / 1e3,
        "low": low / 1e3,
        "high": high / 1e3,
        "frames per second": cores * 1e6 / found.total_us,
        "operators on the CPU": len(found.cpu),
    }
