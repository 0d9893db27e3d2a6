"""How fast a processor is, and how a board's NPU is to what is estimated of it: published, or measured on that board.

Measured rates are written by ``rocketnpu benchmark --keep-rates`` alone, and read wherever a network is divided for a
kernel driver. They lie in the user's configuration folder, a file for each chip.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rocketnpu.errors import InputError
from rocketnpu.files.reading import parse_json, read_file
from rocketnpu.files.writing import write_atomically
from rocketnpu.folders import config_folder, make_private

FORMAT = 1
_LARGEST_FILE = 1 << 16
_SLOWEST, _FASTEST = 1e-3, 1e9
"""Between these lies every rate and factor that a board could have."""


@dataclass(frozen=True)
class Rates:
    """Multiply-accumulates that the processor does in a microsecond, and the NPU's time over the estimated one."""

    signed: float = 385e6 / 13_007
    """Of int8 models: EfficientNet-Lite0 on an RK3588 with LiteRT and eight threads (:mod:`rocketnpu.estimate.cpu`)."""
    unsigned: float = 569e6 / 68_027
    """Of uint8 models: MobileNetV1, as above."""
    npu: float = 1.0
    """Measured time of an inference on the NPU, cuts included, over the estimated one."""
    measured: str = ""
    """On what, with which models and when they were measured; empty where they are the published ones."""

    def __str__(self) -> str:
        """Say what estimates rest on."""
        if not self.measured:
            return (
                "times are estimates: the NPU's from rates fitted to published boards (`rocketnpu estimate`), the "
                "CPU's from two networks on an RK3588 with LiteRT and eight threads, and 1,000 values a microsecond "
                "for operators without weights"
            )
        return (
            f"times are estimates by rates kept on this board ({self.measured}): {self.signed / 1e3:.3g} (int8) and "
            f"{self.unsigned / 1e3:.3g} (uint8) multiply-accumulates a nanosecond on the CPU, {self.npu:.2f} times "
            "what is fitted to published boards on the NPU; 1,000 values a microsecond for operators without weights"
        )


PUBLISHED = Rates()
"""Of boards that others measured."""


def path_of(chip: str) -> Path:
    """Return where the rates of a chip's board lie.

    Raises:
        InputError: the user has no folder for configuration, or it is not the user's alone.
    """
    return config_folder() / f"rates-{chip}.json"


def local_rates(chip: str) -> Rates:
    """Return what was measured on this board, or the published rates where nothing was.

    Raises:
        InputError: the file is there, and is no file of rates.
    """
    try:
        path = path_of(chip)
        path.stat()
    except (OSError, InputError):
        return PUBLISHED
    data = read_file(path, _LARGEST_FILE, "rates", InputError)
    try:
        return _of(parse_json(data), chip)
    except (ValueError, InputError) as error:
        raise InputError(
            f"{path} is no file of rates ({' '.join(str(error).split())[:120]}): remove it, or measure again by "
            "`rocketnpu benchmark --keep-rates`"
        ) from None


def _of(document: Any, chip: str) -> Rates:
    if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("chip") != chip:
        raise InputError(f"not of format {FORMAT} for {chip}")
    found = [document.get(key) for key in ("signed", "unsigned", "npu")]
    if not all(isinstance(n, int | float) and _SLOWEST <= n <= _FASTEST for n in found):
        raise InputError(f"rates of {found}")
    measured = document.get("measured")
    if not isinstance(measured, str) or not measured or not measured.isprintable():
        raise InputError("it does not say what was measured")
    signed, unsigned, npu = (float(n) for n in found if n is not None)
    return Rates(signed, unsigned, npu, measured)


def keep(chip: str, rates: Rates) -> Path:
    """Write a board's rates whole, or leave the older ones; return where.

    Raises:
        InputError: there is no folder for them, or they cannot be written.
    """
    path = path_of(chip)
    document = {
        "format": FORMAT,
        "chip": chip,
        "signed": rates.signed,
        "unsigned": rates.unsigned,
        "npu": rates.npu,
        "measured": rates.measured,
    }
    try:
        make_private(path.parent)
        write_atomically(path, (json.dumps(document, indent=1) + "\n").encode(), 0o644)
    except OSError as error:
        raise InputError(f"cannot write the rates {path}: {error.strerror or error}") from None
    return path


def updated(known: Rates, *, unsigned: bool, processor: float, npu: float, measured: str) -> Rates:
    """Return rates with what a benchmark measured in their place.

    Args:
        known: the rates so far, whose other kind of models stays as it is.
        unsigned: whether a uint8 model was measured.
        processor: its multiply-accumulates in a microsecond of the processor alone.
        npu: its measured time on the NPU over the estimated one.
        measured: on what, with which model and when.

    Raises:
        InputError: a figure is none that a board could have.
    """
    if not all(_SLOWEST <= n <= _FASTEST for n in (processor, npu)):
        raise InputError(f"measured {processor:g} multiply-accumulates a microsecond and a factor of {npu:g}: no rates")
    found = replace(known, npu=npu, measured=measured)
    return replace(found, unsigned=processor) if unsigned else replace(found, signed=processor)
