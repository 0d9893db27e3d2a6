"""``rocketnpu benchmark``: how long inferences take here, beside the estimate for the chip."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rocketnpu.cli.output import chip_option, echo, json_option, print_json, print_table

if TYPE_CHECKING:
    from rocketnpu.estimate.estimate import Estimate
    from rocketnpu.estimate.measured import Circumstances
    from rocketnpu.graph import Graph


@click.command()
@click.option("-m", "--model", "--graph", "model", required=True, metavar="FILE|NAME", help="A model, or its name.")
@click.option("-d", "--device", default="auto", show_default=True, help="auto, simulator, rocket, rknpu or etnaviv.")
@click.option("--num_runs", "--num-runs", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--warmup_runs", "--warmup-runs", type=click.IntRange(1, 1000), default=3, show_default=True)
@click.option("--cores", type=click.IntRange(1, 3), default=1, show_default=True, help="NPU cores that are opened.")
@click.option("--in_flight", "--in-flight", type=click.IntRange(1, 64), default=1, show_default=True, help="At a time.")
@click.option("--split", type=click.Choice(["off", "auto"]), default="off", show_default=True)
@click.option("--allow-unproven", is_flag=True, help="On an NPU: use hardware rules that nobody has proven.")
@click.option("--keep-rates", is_flag=True, help="On an NPU: keep what was measured as this board's rates.")
@chip_option
@json_option
def benchmark(
    model: str,
    device: str,
    num_runs: int,
    warmup_runs: int,
    cores: int,
    in_flight: int,
    split: str,
    allow_unproven: bool,
    keep_rates: bool,
    chip: str,
    as_json: bool,
) -> None:
    """Measure inferences of a whole model with random inputs: p50, p90, p99, and on what they ran.

    Words and options are those of LiteRT's benchmark_model. On the simulator the time is the simulator's; what an NPU
    would take is the estimate beside it. With several inferences in flight (two a core keep it busy) each takes longer,
    and more are made in a second.

    With --keep-rates the model also runs on the processor alone, and what both took replaces the published rates by
    which networks are divided on this board.
    """
    from rocketnpu.estimate.measured import circumstances, measure, shown
    from rocketnpu.family import family_of
    from rocketnpu.zoo import resolve

    path = resolve(model)
    options = {"device": device, "cores": cores, "split": split, "allow_unproven": allow_unproven, "chip": chip}
    with ExitStack() as opened:
        host = _Host(path, {**options, "in_flight": in_flight}, opened)
        timings = measure(host.start, warmup_runs, num_runs, in_flight=in_flight)
        # A board is whatever it is: the chip of the options is the one that would be simulated.
        where = circumstances(family_of(host.chip), host.device_name, cores)
    estimated = _estimated(host.graph, host.chip, where, allow_unproven)
    kept = None
    if keep_rates:
        from rocketnpu.errors import UnsupportedError
        from rocketnpu.estimate import kept as keeping

        keeping.check_worth(path, host.graph, where, in_flight)
        if estimated is None:
            raise UnsupportedError(f"there is no timing model of {host.chip}, to which rates could be told")
        figures = (host.graph, timings, estimated, where)
        kept = keeping.keep_rates(path, host.chip, host.inputs, (warmup_runs, num_runs), figures)
    if as_json:
        low, high = estimated.range_us if estimated else (0.0, 0.0)
        print_json(
            {
                "model": path.name,
                "milliseconds": dict(shown(timings)),
                "runs": timings.runs,
                "in_flight": in_flight,
                "inferences per second": timings.per_second,
                "circumstances": where,
                "estimated_ms": estimated.total_us / 1e3 if estimated else None,
                "estimated_range_ms": [low / 1e3, high / 1e3] if estimated else None,
                "rates": asdict(kept[0]) if kept else None,
            }
        )
        return
    rows = [(name, f"{value:.3f}") for name, value in shown(timings)]
    print_table(("", "ms"), rows, right=("ms",), title=f"{path.name}, {num_runs} runs after {warmup_runs}")
    echo(f"{timings.per_second:.1f} inferences a second, {in_flight} at a time")
    _tell(where, estimated)
    if kept:
        echo(f"kept in {kept[1]}: {kept[0]}")


class _Host:
    """The model with its host, made when it is started."""

    def __init__(self, path: Path, options: dict[str, Any], opened: ExitStack) -> None:
        self._path, self._options, self._opened = path, options, opened
        self.device_name = self.chip = ""

    def start(self) -> Any:
        """Make everything ready; return what runs one inference with random inputs."""
        import numpy as np

        from rocketnpu.inference import Inference

        inference = self._opened.enter_context(Inference(self._path, **self._options))
        self.graph: Graph = inference.graph
        self.device_name, self.chip = inference.device_name, inference.chip
        random = np.random.default_rng(0)
        self.inputs: list[Any] = []
        inputs = self.inputs
        for number in self.graph.inputs:
            tensor = self.graph.tensors[number]
            kind = np.dtype(tensor.dtype.value)
            if kind.kind == "f":
                inputs.append(random.random(tensor.shape, np.float32).astype(kind))
            else:
                inputs.append(random.integers(0, 128, tensor.shape).astype(kind))
        return lambda: inference.run(inputs)


def _estimated(graph: Graph, chip: str, where: Circumstances, allow_unproven: bool) -> Estimate | None:
    """Estimate the same for a board; None where nothing of the model can be timed."""
    from rocketnpu.errors import UnsupportedError
    from rocketnpu.estimate.estimate import Conditions
    from rocketnpu.estimate.measured import clock_mhz
    from rocketnpu.estimate.sources import estimate_model

    conditions = Conditions("vendor" if where.driver == "vendor" else "mainline", clock_mhz(where.clock))
    try:
        return estimate_model(graph, conditions, chip, allow_unproven)
    except UnsupportedError:
        return None


def _tell(where: Circumstances, estimated: Estimate | None) -> None:
    from rocketnpu.estimate.measured import SIMULATOR

    if where.device == SIMULATOR:
        echo("device: simulator: these times are the simulator's, not the chip's")
    else:
        echo(
            f"device: {where.device} ({where.driver} driver, Linux {where.kernel}), {where.cores} core(s), NPU clock "
            f"{where.clock}, CPU governor {where.governor}"
        )
    if estimated is None:
        echo("estimated for the chip: nothing, there is no timing model for it")
        return
    low, high = estimated.range_us
    beside = f", {len(estimated.cpu)} operators on the CPU not in it" if estimated.cpu else ""
    echo(
        f"estimated for {estimated.chip}, {estimated.board.driver} kernel, {estimated.board.clock_mhz:g} MHz, "
        f"one core: {estimated.total_us / 1e3:.2f} ms ({low / 1e3:.2f} to {high / 1e3:.2f}){beside}"
    )
