"""``rocketnpu serve``: the board as an accelerator for other computers."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rocketnpu.cli.output import chip_option, counted, echo, log_to_stderr

if TYPE_CHECKING:
    from rocketnpu.serving.frigate import FrigateDoor
    from rocketnpu.serving.limits import Limits
    from rocketnpu.serving.metrics import Metrics
    from rocketnpu.serving.pool import Pool

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@click.command()
@click.option(
    "-m", "--model", "models", required=True, multiple=True, metavar="[NAME=]FILE|NAME", help="What is served."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 for all.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any.")
@click.option("--token-file", type=click.Path(path_type=Path), help="Holds the token that clients must show.")
@click.option("--no-token", is_flag=True, help="Other machines may use it without a token.")
@click.option("--certificate", type=click.Path(path_type=Path), help="For TLS: a PEM file.")
@click.option("--key", type=click.Path(path_type=Path), help="The certificate's key: a PEM file.")
@click.option("--frigate", metavar="ENDPOINT", help="Answer Frigate's zmq detector too, as at tcp://127.0.0.1:5555.")
@click.option("-d", "--device", default="auto", show_default=True, help="The simulator, or a kernel driver by name.")
@click.option("-c", "--cores", type=click.IntRange(1, 16), help="Inferences at a time; the chip's cores if not given.")
@click.option("--allow-unproven", is_flag=True, help="On an NPU: use hardware rules that nobody has proven.")
@click.option("--queue", type=click.IntRange(1, 4096), default=64, show_default=True, help="Inferences that may wait.")
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=30, show_default=True, help="For one request.")
@click.option("--megabytes", type=click.IntRange(1, 1024), default=32, show_default=True, help="Of one request.")
@click.option("--connections", type=click.IntRange(1, 10000), default=256, show_default=True, help="At a time.")
@chip_option
def serve(
    models: tuple[str, ...],
    host: str,
    port: int,
    token_file: Path | None,
    no_token: bool,
    certificate: Path | None,
    key: Path | None,
    frigate: str | None,
    device: str,
    cores: int | None,
    allow_unproven: bool,
    queue: int,
    seconds: float,
    megabytes: int,
    connections: int,
    chip: str,
) -> None:
    """Serve models over HTTP by the Open Inference Protocol, version 2, until Ctrl-C or SIGTERM.

    Tensors come as JSON or as binary data; /metrics is for Prometheus. A token may also stand in the environment
    variable ROCKETNPU_TOKEN. Without one only this machine is let in, unless --no-token says otherwise.
    """
    from rocketnpu.serving.packages import require_serving

    require_serving(frigate=frigate is not None)
    from rocketnpu.family import family_of
    from rocketnpu.serving.limits import MEBIBYTE, Limits
    from rocketnpu.serving.listening import Door, token_from
    from rocketnpu.serving.metrics import Metrics
    from rocketnpu.serving.pool import Pool
    from rocketnpu.serving.server import serve as serve_until_signal

    log_to_stderr()
    limits = Limits(body=megabytes * MEBIBYTE, queue=queue, seconds=seconds, connections=connections)
    door = Door(host, port, token_from(token_file), no_token, certificate, key)
    warnings = [*door.check(), *_check_frigate(frigate, open_to_all=no_token)]
    workers = cores or family_of(chip).cores
    options = {"device": device, "allow_unproven": allow_unproven, "chip": chip}
    with ExitStack() as stack:
        listening = stack.enter_context(door.listen())
        pools = [
            stack.enter_context(Pool(name, path, workers, queue, **options)) for name, path in named(models).items()
        ]
        metrics = Metrics(pools)
        if frigate is not None:
            stack.enter_context(_frigate_door(frigate, pools, metrics, limits))
        for warning in warnings:
            echo(f"warning: {warning}", err=True)

        def started() -> None:
            shown = f"[{host}]" if ":" in host else host
            address = f"{door.scheme}://{shown}:{listening.getsockname()[1]}"
            for pool in pools:
                told = f"{counted(pool.workers, 'inference')} at a time"
                echo(f"{address}/v2/models/{pool.name} on {pool.device_name}, {told}", err=True)

        serve_until_signal(pools, metrics, door, limits, listening, started)


def named(models: tuple[str, ...]) -> dict[str, Path]:
    """Return files by the names under which clients know them.

    Raises:
        InputError: two have one name, or a name that has no place in an address.
    """
    from rocketnpu.errors import InputError
    from rocketnpu.zoo import resolve

    found: dict[str, Path] = {}
    for text in models:
        name, equals, rest = text.partition("=")
        if not equals or not _NAME.fullmatch(name) or Path(text).exists():
            name, rest = "", text
        path = resolve(rest)
        name = name or (rest if Path(rest).name == rest and not Path(rest).suffix else path.stem)
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is no name for clients: give letters, digits, '.', '_' and '-', as in NAME={rest}"
            )
        if name in found:
            raise InputError(f"two models are called {name!r}: give them names, as in NAME={rest}")
        found[name] = path
    return found


def _check_frigate(endpoint: str | None, *, open_to_all: bool) -> list[str]:
    if endpoint is None:
        return []
    from rocketnpu.serving.frigate import check_endpoint

    return check_endpoint(endpoint, open_to_all=open_to_all)


def _frigate_door(endpoint: str, pools: list[Pool], metrics: Metrics, limits: Limits) -> FrigateDoor:
    """Open Frigate's door to those models that are detectors."""
    from rocketnpu.errors import InputError
    from rocketnpu.serving.frigate import FrigateDoor
    from rocketnpu.serving.watcher import Watcher

    watchers, reasons = [], []
    for pool in pools:
        try:
            watchers.append(Watcher(pool))
        except InputError as error:
            reasons.append(str(error))
    if not watchers:
        raise InputError(f"Frigate needs a detector: {reasons[0]}")
    door = FrigateDoor(endpoint, watchers, metrics, limits)
    echo(f"{door.endpoint} for Frigate: {', '.join(watcher.pool.name for watcher in watchers)}", err=True)
    return door
