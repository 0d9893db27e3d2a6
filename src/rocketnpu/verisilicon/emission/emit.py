"""From a task to an instruction and the front-end stream that starts it (facts 3)."""

from __future__ import annotations

from rocketnpu.program.constants import REGION, ConstantPool, Location
from rocketnpu.verisilicon.emission.nn import coefficients, nn_instruction, stored_biases
from rocketnpu.verisilicon.emission.tp import tp_instruction
from rocketnpu.verisilicon.emission.words import Instruction
from rocketnpu.verisilicon.registers.commands import load_state
from rocketnpu.verisilicon.registers.states import STATES
from rocketnpu.verisilicon.soc import Soc
from rocketnpu.verisilicon.tasks.task import Convolution, Task

KINDS = {"NN": 1, "TP": 2}
"""Which unit runs a task, in programs."""
_SMALL_BATCH = 0x10
"""GL_NN_CONFIG: jobs one after another, on all cores (facts 3)."""
_BEFORE = {
    "NN": (("GL_NN_CONFIG", _SMALL_BATCH),),
    "TP": (("GL_TP_CONFIG", 0), ("GL_TP_SPLIT", 0)),
}
_START = {"NN": "PS_NN_INST_ADDR", "TP": "PS_TP_INST_ADDR"}


def emit(task: Task, constants: ConstantPool, soc: Soc) -> Instruction:
    """Write a task's instruction; its coefficients go to the constants.

    Raises:
        RegisterFieldError: a value does not fit its field.
        UnsupportedError: a bias does not fit.
    """
    if isinstance(task, Convolution):
        data = coefficients(task, soc)
        return nn_instruction(task, constants.add(data), len(data), soc)
    return tp_instruction(task)


def outline(task: Task, soc: Soc) -> Instruction:
    """Write a task's instruction without packing its coefficients.

    Raises:
        RegisterFieldError: a value does not fit its field.
        UnsupportedError: a bias does not fit.
    """
    if isinstance(task, Convolution):
        stored_biases(task, soc.generation)
        return nn_instruction(task, Location(REGION), task.weights.size, soc)
    return tp_instruction(task)


def stream(unit: str) -> tuple[list[int], int]:
    """Return the stream that starts an instruction of a unit, and the word that is to hold its address."""
    words: list[int] = []
    for name, value in (("GL_OCB_REMAP_START", 0), ("GL_OCB_REMAP_END", 0), *_BEFORE[unit]):
        words += load_state(STATES[name].offset, (value,))
    words += load_state(STATES[_START[unit]].offset, (0,))
    place = len(words) - 1
    return [*words, *load_state(STATES["PS_INST_INDEX"].offset, (0,))], place
