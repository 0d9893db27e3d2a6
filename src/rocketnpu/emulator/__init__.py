"""A kernel node that needs no board: what a program does to a device node is done by the simulator.

Four parts: ``shim/shim.c`` inside the program, :mod:`~rocketnpu.emulator.node` at the other end of its socket,
:mod:`~rocketnpu.emulator.drm_file` and each driver's file for what the kernel keeps and checks,
:mod:`~rocketnpu.emulator.jobs` for what its scheduler does. :mod:`~rocketnpu.emulator.driver` knows the drivers.
"""

from rocketnpu.emulator.driver import driver_of, emulated_chips
from rocketnpu.emulator.drm_file import DrmFile, Limits
from rocketnpu.emulator.jobs import QueuedJob, TaskHangError
from rocketnpu.emulator.library import shim_library
from rocketnpu.emulator.node import EmulatedNode

__all__ = [
    "DrmFile",
    "EmulatedNode",
    "Limits",
    "QueuedJob",
    "TaskHangError",
    "driver_of",
    "emulated_chips",
    "shim_library",
]
