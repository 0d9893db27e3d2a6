"""What is handed to the etnaviv driver beside a program's own commands (facts 2, 3: all recordings of the open driver).

A program's task loads the states of one NN or TP job. A submission is a head, the tasks in order, and a tail that
flushes what the NPU has written. Two modes are set once, in a submission of their own without buffers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rocketnpu.verisilicon.registers.commands import load_state
from rocketnpu.verisilicon.registers.instruction import Words
from rocketnpu.verisilicon.registers.states import STATES

_SYSTEM_MODE, _OPENCL, _FLUSH = 0x11, 2, 0xC23
_HEAD, _END = [0] * 8, [0] * 2


def _state(name: str, value: int) -> list[int]:
    return load_state(STATES[name].offset, (value,))


MODES: Words = np.array(
    [*_HEAD, *_state("PA_SYSTEM_MODE", _SYSTEM_MODE), *_state("GL_API_MODE", _OPENCL), *_END], "<u4"
)
"""The submission that sets the modes."""
_TAIL = [*_state("GL_FLUSH_CACHE", _FLUSH) * 2, *_END]


def stream_of(tasks: Iterable[Words]) -> Words:
    """Return the stream of a submission that runs tasks one after another."""
    return np.concatenate([np.array(_HEAD, "<u4"), *tasks, np.array(_TAIL, "<u4")])
