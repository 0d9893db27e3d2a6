"""The networks that device tests run, by name."""

from rocketnpu.cli.device.selftest import cases

CASES = {case.name: case for case in cases()}
