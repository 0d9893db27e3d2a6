"""A kernel node that needs no board: what a program does to ``/dev/accel/accel0`` is done by the simulator.

Four parts: ``shim/shim.c`` inside the program, :mod:`~rocketnpu.emulator.node` at the other end of its socket,
:mod:`~rocketnpu.emulator.file` for what the kernel driver keeps and checks, :mod:`~rocketnpu.emulator.jobs` for what
its scheduler does.
"""

from rocketnpu.emulator.file import Limits, NodeFile
from rocketnpu.emulator.jobs import QueuedJob, TaskHangError
from rocketnpu.emulator.library import shim_library
from rocketnpu.emulator.node import EmulatedNode

__all__ = ["EmulatedNode", "Limits", "NodeFile", "QueuedJob", "TaskHangError", "shim_library"]
