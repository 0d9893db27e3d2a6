"""Refit the rates of the timing model to published profiles, and print how far it is off where it was not fitted.

    python benchmarks/fit_timing.py [--json]

``data/layer_times.csv`` holds times that others measured on boards, a source in each row. The row fit sees single
layers only. The network fit's figures are those of :data:`rocketnpu.rockchip.timing.rates.NETWORK_FIT`; of its rates
the bytes a cycle are refitted here to five networks at a time, to be tried on the sixth.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from networks import NETWORKS, Layer

from rocketnpu.rockchip.timing.rates import NETWORK_FIT, ROW_FIT, Rates
from rocketnpu.rockchip.timing.work import cycles

DATA = Path(__file__).resolve().parent / "data" / "layer_times.csv"
FITTED = ("yolov5s_relu_rt150", "yolov8n_1920_1core", "unet_fp16_rt232")
UNSEEN = ("yolov8n_1088_mc", "yolov10_issue115")
"""Sets that no rate was fitted to; a few rows of them give what is the board's: its harness and its memory."""
READS = np.arange(4.0, 13.6, 0.5)
SEEDS = 10
CALIBRATION = 8


@dataclass(frozen=True)
class Row:
    """A measured layer."""

    board: str
    layer: Layer
    us: float
    cores: int


@dataclass(frozen=True)
class Board:
    """What belongs to a board and its profiler: microseconds a layer, microseconds a tile, bytes read in a cycle."""

    layer_us: float
    read: float


@dataclass(frozen=True)
class Fit:
    """Rates of the chip, with each board's own."""

    output: float
    lookup: float
    tile_us: float
    boards: dict[str, Board]

    def us(self, row: Row) -> float:
        """Estimate a row."""
        board = self.boards[row.board]
        return board.layer_us + busy_us(row, self, board.read)


def rows(path: Path = DATA) -> list[Row]:
    """Read the convolutions; a network's repeated shapes stay, for they are measured anew."""
    found = []
    for line in csv.DictReader(path.open()):
        if not line["op"].startswith("Conv") or line["op"] == "ConvTranspose" or not float(line["kh"] or 0):
            continue
        numbers = {name: int(float(line[name])) for name in ("ic", "ih", "iw", "oc", "kh", "kw", "stride", "oh", "ow")}
        layer = Layer(
            **numbers,
            depthwise=line["depthwise"] == "1",
            half=line["dtype"] == "fp16",
            lookup="Swish" in line["op"] or "Sigmoid" in line["op"],
            added=float(line["add_bytes"] or 0) > 0,
        )
        found.append(Row(line["dataset"], layer, float(line["time_us"]), int(float(line["cores"] or 1))))
    return found


def busy_us(row: Row, fit: Fit | Rates, read: float) -> float:
    """Estimate what the core itself takes at 1 GHz, tiles included."""
    rates = Rates("fitted", read, read / 2, fit.output, fit.lookup, 1.8, 11.0)
    tiles = row.layer.tiles()
    tile_us = fit.tile_us if isinstance(fit, Fit) else 1.0
    return (sum(cycles(work, rates).total for work in tiles) / 1e3 + tile_us * len(tiles)) / row.cores


def board_of(found: Sequence[Row], fit: Fit) -> Board:
    """Find the harness time and the read rate with the least mean error."""
    truth = np.array([row.us for row in found])
    best = (np.inf, Board(0.0, 11.0))
    for read in READS:
        busy = np.array([busy_us(row, fit, read) for row in found])
        layer_us = max(0.0, weighted_median(truth - busy, 1 / truth))
        error = float(np.mean(np.abs((busy + layer_us) / truth - 1)))
        best = min(best, (error, Board(layer_us, float(read))), key=lambda one: one[0])
    return best[1]


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def fitted(found: Sequence[Row]) -> Fit:
    """Fit chip and boards to rows."""
    names = sorted({row.board for row in found})
    best = (np.inf, Fit(8.0, 2.0, 1.0, {}))
    for output, lookup, tile_us in product((4.5, 5.35, 6.5, 8.0), (1.9, 2.05, 2.2), (0.0, 2.0, 3.5)):
        fit = Fit(output, lookup, tile_us, {})
        boards = {name: board_of([row for row in found if row.board == name], fit) for name in names}
        fit = replace(fit, boards=boards)
        error = float(np.mean(np.abs(errors(fit, found))))
        best = min(best, (error, fit), key=lambda one: one[0])
    return best[1]


def errors(fit: Fit, found: Iterable[Row]) -> np.ndarray:
    """Return estimate / truth - 1."""
    return np.array([fit.us(row) / row.us - 1 for row in found])


def held_out(found: Sequence[Row]) -> np.ndarray:
    """Return errors of rows whose shapes were not fitted, over ten divisions of the shapes."""
    shapes = sorted({row.layer for row in found}, key=repr)
    collected = []
    for seed in range(SEEDS):
        chosen = np.random.default_rng(seed).random(len(shapes)) < 0.3
        out = {shape for shape, apart in zip(shapes, chosen, strict=True) if apart}
        fit = fitted([row for row in found if row.layer not in out])
        collected.append(errors(fit, [row for row in found if row.layer in out]))
    return np.concatenate(collected)


def calibrated(fit: Fit, found: Sequence[Row], count: int) -> np.ndarray:
    """Return errors on a board that no rate was fitted to, its own two figures taken from ``count`` of its rows."""
    collected = []
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(found))
        known = [found[number] for number in order[:count]]
        own = replace(fit, boards={found[0].board: board_of(known, fit)})
        collected.append(errors(own, [found[number] for number in order[count:]]))
    return np.concatenate(collected)


def summary(found: np.ndarray) -> dict[str, Any]:
    """Describe errors: mean and median size, and truth / estimate at the 10th and 90th percentile."""
    size = np.abs(found)
    low, high = np.percentile(1 / (1 + found), [10, 90])
    return {
        "rows": len(found),
        "mean %": round(100 * float(size.mean()), 1),
        "median %": round(100 * float(np.median(size)), 1),
        "p90 %": round(100 * float(np.percentile(size, 90)), 1),
        "truth/estimate p10": round(float(low), 2),
        "truth/estimate p90": round(float(high), 2),
    }


def network_ms(layers: Sequence[Layer], rates: Rates, charge_joins: bool) -> float:
    """Estimate a network at 1 GHz on one core: chained tasks, 2 us a layer, 0.15 ms on the host (timing 5)."""
    total = 150.0
    for layer in layers:
        if layer.joins:
            if charge_joins:
                total += 2 + 2 * layer.output_bytes / rates.copy / 1e3
            continue
        tiles = layer.tiles()
        total += 2 + sum(cycles(work, rates).total / 1e3 + 1 for work in tiles)
    return total / 1e3


def left_out(measured: dict[str, float]) -> dict[str, float]:
    """Return each network's error with the read rate fitted to the others."""
    found = {}
    for name, truth in measured.items():
        best = (np.inf, NETWORK_FIT)
        for read in READS:
            rates = replace(NETWORK_FIT, read=float(read), write=float(read) / 2)
            off = [abs(network_ms(NETWORKS[n].layers, rates, False) / measured[n] - 1) for n in measured if n != name]
            best = min(best, (float(np.mean(off)), rates), key=lambda one: one[0])
        found[name] = network_ms(NETWORKS[name].layers, best[1], False) / truth - 1
    return found


def figures() -> dict[str, Any]:
    """Fit, and collect everything that is printed."""
    every = rows()
    found = [row for row in every if row.board in FITTED]
    fit = fitted(found)
    protocols: dict[str, Any] = {
        "fitted to them": summary(errors(fit, found)),
        "shapes held out": summary(held_out(found)),
    }
    for name in FITTED:
        other = fitted([row for row in found if row.board != name])
        mine = [row for row in found if row.board == name]
        protocols[f"board held out: {name}"] = summary(calibrated(other, mine, CALIBRATION))
    for name, count in zip(UNSEEN, (CALIBRATION, 4), strict=True):
        mine = [row for row in every if row.board == name]
        protocols[f"never fitted: {name}"] = summary(calibrated(fit, mine, count))
    measured = {name: network.measured_ms for name, network in NETWORKS.items() if network.measured_ms}
    outside = left_out(measured)
    networks = {
        name: {
            "measured ms": value,
            "network fit ms": round(network_ms(NETWORKS[name].layers, NETWORK_FIT, False), 2),
            "row fit ms": round(network_ms(NETWORKS[name].layers, ROW_FIT, True), 2),
            "left out %": round(100 * outside[name], 1),
        }
        for name, value in measured.items()
    }
    return {
        "row fit": {"output": fit.output, "lookup": fit.lookup, "tile us": fit.tile_us}
        | {name: f"{board.layer_us:.0f} us a layer, {board.read} bytes a cycle" for name, board in fit.boards.items()},
        "layers": protocols,
        "networks": networks,
        "networks, mean error %": {
            "network fit (adjusted to these)": _mean(networks, "network fit ms"),
            "row fit (sees layers only)": _mean(networks, "row fit ms"),
            "network fit, one left out": round(100 * float(np.mean(np.abs(list(outside.values())))), 1),
        },
    }


def _mean(networks: dict[str, dict[str, float]], column: str) -> float:
    return round(100 * float(np.mean([abs(one[column] / one["measured ms"] - 1) for one in networks.values()])), 1)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="refit the timing model, print its errors")
    parser.add_argument("--json", action="store_true")
    found = figures()
    if parser.parse_args().json:
        print(json.dumps(found, indent=2))
        return
    for title, part in found.items():
        print(title)
        for name, value in part.items():
            text = ", ".join(f"{key} {number}" for key, number in value.items()) if isinstance(value, dict) else value
            print(f"  {name:36} {text}")


if __name__ == "__main__":
    main()
