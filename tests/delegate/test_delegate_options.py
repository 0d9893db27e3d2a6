"""Option pairs: what is understood, and that everything else is refused with what would be valid."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rocketnpu.delegate.options import Options, parse
from rocketnpu.errors import InputError


def test_without_options_the_defaults_hold() -> None:
    assert parse({}, {}) == Options()


def test_strings_and_python_values_mean_the_same() -> None:
    text = {"device": "simulator", "cores": "2", "cache": "off", "require_full": "yes", "verbose": "1"}
    plain = {"device": "simulator", "cores": 2, "cache": False, "require_full": True, "verbose": True}
    wanted = Options("simulator", 2, "off", require_full=True, verbose=True)
    assert parse(text, {}) == parse(plain, {}) == wanted


def test_teflon_debug_turns_verbose_on_and_the_option_wins() -> None:
    assert parse({}, {"TEFLON_DEBUG": "verbose"}).verbose
    assert parse({}, {"TEFLON_DEBUG": "other,verbose"}).verbose
    assert not parse({}, {"TEFLON_DEBUG": "other"}).verbose
    assert not parse({"verbose": "no"}, {"TEFLON_DEBUG": "verbose"}).verbose


def test_the_environment_gives_what_no_pair_says() -> None:
    environment = {
        "ROCKETNPU_DEVICE": "simulator",
        "ROCKETNPU_CORES": "3",
        "ROCKETNPU_PROGRAM_CACHE": "/some/folder",
        "ROCKETNPU_REQUIRE_FULL": "yes",
        "ROCKETNPU_VERBOSE": "on",
        "ROCKETNPU_MINIMUM_MACS": "7",
        "ROCKETNPU_ALLOW_UNPROVEN": "1",
        "ROCKETNPU_CACHE": "/base",
    }
    wanted = Options("simulator", 3, "/some/folder", True, True, 7, True)
    assert parse({}, environment) == wanted
    assert parse({"cores": "2", "cache": "off"}, environment) == replace(wanted, cores=2, cache="off")
    assert parse({}, {"ROCKETNPU_CORES": "", "ROCKETNPU_CACHE": "/base"}) == Options()
    with pytest.raises(InputError, match="environment variable ROCKETNPU_CORES: option cores: 'x' is not a number"):
        parse({}, {"ROCKETNPU_CORES": "x"})


@pytest.mark.parametrize(
    ("name", "value", "listed"),
    [
        ("speed", "fast", "device, cores, cache, require_full, verbose, minimum_macs"),
        ("device", "tpu", "auto, simulator, rocket, rknpu"),
        ("cores", "4", "1, 2, 3"),
        ("cores", "two", "1, 2, 3"),
        ("split", "yes", "auto, off"),
        ("cores", "-1", "1, 2, 3"),
        ("cache", "relative/folder", "on, off, or an absolute path"),
        ("cache", "", "on, off, or an absolute path"),
        ("require_full", "maybe", "yes, true, on, 1, no, false, off, 0"),
        ("verbose", "loud", "yes, true, on, 1, no, false, off, 0"),
        ("minimum_macs", "-5", "whole numbers from 0"),
    ],
)
def test_what_is_not_valid_is_refused_with_what_is(name: str, value: str, listed: str) -> None:
    with pytest.raises(InputError) as refused:
        parse({name: value}, {})
    assert repr(value) in str(refused.value) or repr(name) in str(refused.value)
    assert listed in str(refused.value)
