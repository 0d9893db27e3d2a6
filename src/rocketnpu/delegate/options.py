"""What a user may ask of the delegate, as pairs of strings.

======================  ==========================  ====================================================================
option                  values                      meaning (default first in the list of values)
======================  ==========================  ====================================================================
``device``              auto, simulator, ...        who executes: the simulator, or a kernel driver by name
``cores``               1 to the chip's cores       NPU cores over which interpreters that share the delegate are spread
``cache``               on, off, or a folder        where compiled programs are kept between starts
``require_full``        no, yes                     fail if anything stays on the CPU
``verbose``             no, yes                     print what ``TEFLON_DEBUG=verbose`` prints
``minimum_macs``        a whole number              parts with fewer multiply-accumulates stay on the CPU
``allow_unproven``      no, yes                     let an NPU do what nobody has seen it do (the simulator always may)
``chip``                a chip's name               the chip that is simulated, where no NPU is used
``target``              auto, mainline, vendor      whose programs the simulator runs: its own, or those of a board
``split``               off, auto                   one inference uses all cores, where the estimate says that it pays
======================  ==========================  ====================================================================

Yes may also be written true, on or 1, no as false, off or 0.

Hosts that pass no options are given them by the environment: ``ROCKETNPU_DEVICE``, ``ROCKETNPU_CORES``,
``ROCKETNPU_PROGRAM_CACHE``, ``ROCKETNPU_REQUIRE_FULL``, ``ROCKETNPU_VERBOSE``, ``ROCKETNPU_MINIMUM_MACS``,
``ROCKETNPU_ALLOW_UNPROVEN``, ``ROCKETNPU_CHIP``, ``ROCKETNPU_TARGET`` and ``ROCKETNPU_SPLIT``. Options that are passed
win. (``ROCKETNPU_CACHE`` is the folder of all caches.)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rocketnpu.device.discover import device_names
from rocketnpu.errors import InputError
from rocketnpu.family import chips, family_of
from rocketnpu.policy import DEFAULT_CHIP, Target

MINIMUM_MACS = 1_000_000
"""Multiply-accumulates below which a part does not pay.

Measured by ``benchmarks/door.py`` on an x86 server core: the door of a part that computes nothing takes 0.060 ms, and
LiteRT on one thread does 1.5 to 8 million multiply-accumulates in that time, by model. The NPU's own time comes on top,
so nothing below that can pay; it is rounded down, because cores differ.
"""

MOST_CORES = max(family_of(chip).cores for chip in chips())
"""Cores of the largest chip; the device itself knows how many it has."""
_TRUTH = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}


@dataclass(frozen=True)
class Options:
    """The options of one delegate, checked."""

    device: str = "auto"
    cores: int = 1
    cache: str = "on"
    """``"on"`` for the user's usual folder, ``"off"``, or the path of a folder."""
    require_full: bool = False
    verbose: bool = False
    minimum_macs: int = MINIMUM_MACS
    allow_unproven: bool = False
    chip: str = DEFAULT_CHIP
    target: Target | None = None
    """Whose programs the simulator runs; None for its own."""
    split: bool = False
    """Whether one inference may use all cores; interpreters then take turns instead of being spread."""


def parse(pairs: Mapping[str, object], environment: Mapping[str, str] = os.environ) -> Options:
    """Check option pairs as a host hands them over; values are read as text.

    What no pair says, the environment may: :data:`VARIABLES`, and ``TEFLON_DEBUG`` turns ``verbose`` on if it contains
    that word.

    Raises:
        InputError: an option or a value is unknown; the message lists the valid ones.
    """
    found: dict[str, Any] = {"verbose": "verbose" in environment.get("TEFLON_DEBUG", "").split(",")}
    for name, variable in VARIABLES.items():
        if name not in pairs and environment.get(variable):
            try:
                found[name] = _READERS[name](name, environment[variable])
            except InputError as error:
                raise InputError(f"environment variable {variable}: {error}") from None
    for name, value in pairs.items():
        if name not in _READERS:
            raise InputError(f"unknown option {name!r}; valid options are {', '.join(_READERS)}")
        found[name] = _READERS[name](name, str(value))
    return Options(**found)


def _device(name: str, value: str) -> str:
    names = device_names()
    if value not in names:
        raise InputError(f"option {name}: {value!r} is unknown; valid values are {', '.join(names)}")
    return value


def _truth(name: str, value: str) -> bool:
    if value.lower() not in _TRUTH:
        raise InputError(f"option {name}: {value!r} is neither yes nor no; valid values are {', '.join(_TRUTH)}")
    return _TRUTH[value.lower()]


def _cores(name: str, value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= MOST_CORES:
        valid = ", ".join(str(count) for count in range(1, MOST_CORES + 1))
        raise InputError(f"option {name}: {value!r} is not a number of cores; valid values are {valid}")
    return int(value)


def _split(name: str, value: str) -> bool:
    if value not in ("auto", "off"):
        raise InputError(f"option {name}: {value!r} is unknown; valid values are auto, off")
    return value == "auto"


def _target(name: str, value: str) -> Target | None:
    known: dict[str, Target | None] = {"auto": None, "mainline": "mainline", "vendor": "vendor"}
    if value not in known:
        raise InputError(f"option {name}: {value!r} is unknown; valid values are {', '.join(known)}")
    return known[value]


def _chip(name: str, value: str) -> str:
    if value not in chips():
        raise InputError(f"option {name}: {value!r} is unknown; valid values are {', '.join(chips())}")
    return value


def _count(name: str, value: str) -> int:
    if not value.isdecimal():
        raise InputError(f"option {name}: {value!r} is not a count; valid are whole numbers from 0")
    return int(value)


def _cache(name: str, value: str) -> str:
    if value.lower() in _TRUTH:
        return "on" if _TRUTH[value.lower()] else "off"
    if not value or not Path(value).expanduser().is_absolute():
        raise InputError(f"option {name}: {value!r} is no folder; valid values are on, off, or an absolute path")
    return value


_READERS = {
    "device": _device,
    "cores": _cores,
    "cache": _cache,
    "require_full": _truth,
    "verbose": _truth,
    "minimum_macs": _count,
    "allow_unproven": _truth,
    "chip": _chip,
    "target": _target,
    "split": _split,
}
VARIABLES: Mapping[str, str] = {
    name: f"ROCKETNPU_{'PROGRAM_CACHE' if name == 'cache' else name.upper()}" for name in _READERS
}
"""Environment variables by the option that they give."""
assert set(_READERS) == {field.name for field in fields(Options)}
