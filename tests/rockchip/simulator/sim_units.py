"""Units by themselves: the registers that a stream leaves them, and what is said of these."""

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.registers.rk3588 import BY_NAME
from rocketnpu.rockchip.simulator.checks import Checks
from rocketnpu.rockchip.simulator.pc import parse
from rocketnpu.rockchip.simulator.registers import RegisterFile, registers


def unit(stream, name):
    """A unit's registers as a stream leaves them."""
    file = RegisterFile(BY_NAME[name])
    for segment in parse(stream.words().tobytes()).segments[name]:
        file.write(segment.index, segment.values)
    return registers(name, file.snapshot())


def said(read, strict=False):
    """What is refused, or what is noted: None, the message, or all that was noted."""
    checks = Checks(strict)
    try:
        read(checks)
    except SimulationError as error:
        return str(error)
    return "; ".join((*checks.defects, *checks.remarks)) or None
