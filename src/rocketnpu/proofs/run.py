"""Run one trial on an open device, and only it: no probing afterwards, as with an ordinary failure."""

from __future__ import annotations

import os

from rocketnpu.device.base import Device
from rocketnpu.device.group import cores_of
from rocketnpu.device.placement import Placement
from rocketnpu.errors import DeviceTimeoutError
from rocketnpu.proofs.trial import Hazard, Trial

PATIENCE = 10.0
"""Seconds to wait for a job; the drivers' own limits are far below."""


def run_trial(device: Device, trial: Trial) -> bytes:
    """Run a trial and return its output.

    The caller has allowed what the trial may do to the board.

    Raises:
        DeviceTimeoutError: a job did not end, or left its output untouched.
        DeviceError: the device has no room, or refuses the program.
    """
    for member in cores_of(device):
        if hasattr(member, "takes_risks"):
            member.takes_risks = trial.hazard is Hazard.MAY_HANG
    with Placement(device, trial.program, allow_unproven=True) as placed:
        buffer, offset, size = trial.place
        memory = placed.memories[buffer]
        patterns = []
        for job in trial.program.jobs:
            _, start, length = job.sentinel
            patterns.append(os.urandom(length))
            memory[start : start + length] = patterns[-1]
        device.sync_for_device(placed.buffers[buffer])
        device.submit(placed.jobs)
        device.sync_for_cpu(placed.buffers[buffer], PATIENCE)
        for number, (job, pattern) in enumerate(zip(trial.program.jobs, patterns, strict=True)):
            _, start, length = job.sentinel
            if memory[start : start + length] == pattern:
                raise DeviceTimeoutError(f"{device.name}: job {number} of {trial.key} did not run to its end")
        return bytes(memory[offset : offset + size])
