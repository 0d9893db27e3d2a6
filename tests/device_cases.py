"""The networks that device tests run, by name."""

from rocketnpu.cli.device.selftest import Case, cases, proven_policy
from rocketnpu.device.base import Device
from rocketnpu.program.program import Program

CASES = {case.name: case for case in cases()}


def program_for(case: Case, device: Device) -> Program:
    """Compile a network for a device's chip, by proven rules only."""
    return case.program(proven_policy(device.chip))
