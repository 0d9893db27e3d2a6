"""The networks that device tests run, by name."""

from rocketnpu.cli.selftest import cases

CASES = {case.name: case for case in cases()}
