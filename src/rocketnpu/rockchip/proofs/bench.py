"""Small programs of hand-picked tasks, with registers changed behind the compiler's back where a rule asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rocketnpu.policy import Target
from rocketnpu.program.constants import REGION, ConstantPool, Location
from rocketnpu.program.memory import Slot
from rocketnpu.program.program import Program, ProgramBuffer, ProgramJob, Role
from rocketnpu.proofs.trial import Hazard, Trial
from rocketnpu.rockchip.assembly.assemble import COMMANDS, CONSTANTS, laid_out
from rocketnpu.rockchip.emission.emit import CommandList, emit
from rocketnpu.rockchip.registers.command import write_register
from rocketnpu.rockchip.registers.rk3588 import BY_NAME, register
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.convolution import ConvolutionLayer, Requantise, convolution_tasks
from rocketnpu.rockchip.tasks.feature import FeatureMap
from rocketnpu.rockchip.tasks.task import Conversion, ConvolutionTask, Elementwise, Lookup, Task

Int64 = npt.NDArray[np.int64]
Fields = Mapping[str, Mapping[str, int]]
"""Fields to change, by register path."""
SURFACES = 16
"""Surfaces of 16 channels that a region has room for: whole kernel groups are written."""
UNTOUCHED = 0x55
"""What the result holds before the program runs."""
UNIT = Conversion(1 << 14, 14, 0)
RESULT = COMMANDS + 1


class Bench:
    """A chip, a pool of constants, and the pieces of a program."""

    def __init__(self, soc: Soc) -> None:
        """Begin with nothing."""
        self.soc, self.constants = soc, ConstantPool()

    def source(self, values: Int64) -> FeatureMap:
        """Store a map of ``(rows, columns, channels)``, channels in whole slots."""
        height, width, channels = values.shape
        at = self.constants.add(slots(values, self.soc))
        return FeatureMap(at, height, width, channels, height * width * self.soc.slot, self.soc.slot)

    def result(self, height: int, width: int, channels: int, name: str = "result") -> FeatureMap:
        """Make a map that a task writes."""
        return FeatureMap.packed(name, height, width, channels, self.soc.slot)

    def identity(
        self,
        values: Int64,
        requantise: Requantise | None = None,
        *,
        factor: int = 1,
        addend: Elementwise | None = None,
        lookup: Lookup | None = None,
    ) -> ConvolutionLayer:
        """Describe a dense 1x1 convolution whose accumulator is ``factor`` times each value."""
        channels = values.shape[2]
        weights = np.zeros((channels, 1, 1, channels), np.int8)
        weights[np.arange(channels), 0, 0, np.arange(channels)] = factor
        layer = self.layer(self.source(values), weights, values.shape[:2], requantise)
        return replace(layer, addend=addend, lookup=lookup)

    def layer(
        self,
        source: FeatureMap,
        weights: npt.NDArray[np.int8],
        size: tuple[int, ...],
        requantise: Requantise | None = None,
        *,
        biases: Int64 | None = None,
        dilation: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
    ) -> ConvolutionLayer:
        """Describe a convolution of kernels of zero point 0 that writes the result."""
        channels = weights.shape[-1] if weights.ndim == 3 else len(weights)
        return ConvolutionLayer(
            operator=0,
            label="trial",
            source=source,
            target=self.result(size[0], size[1], channels),
            weights=weights,
            weight_zero_point=0,
            biases=np.zeros(channels, np.int64) if biases is None else biases,
            stride=(1, 1),
            dilation=dilation,
            padding=padding,
            pad_value=0,
            requantise=requantise or Requantise(UNIT),
        )

    def tasks(self, layer: ConvolutionLayer) -> list[ConvolutionTask]:
        """Cut a layer into tasks; those here all fit in one."""
        made = convolution_tasks(layer, self.constants, self.soc)
        assert len(made) == 1, "a trial's layer is one task"
        return made

    def program(self, name: str, jobs: Sequence[Sequence[Task]], changes: Fields | None = None) -> Program:
        """Assemble jobs; ``changes`` are made to the very last task."""
        tasks = [task for job in jobs for task in job]
        lists = [emit(task, self.soc) for task in tasks]
        lists[-1] = changed(lists[-1], changes or {})
        places: dict[str, Slot] = {REGION: Slot(CONSTANTS, 0)}
        size = 0
        for task in tasks:
            feature = task.target.feature
            if feature.at.region not in places:
                places[feature.at.region] = Slot(RESULT, size)
                size += SURFACES * feature.surface_pitch
        made, words, relocations = laid_out(tasks, lists, places, self.soc)
        content = self.constants.content()
        buffers = (
            ProgramBuffer("constants", Role.CONSTANTS, len(content), content),
            ProgramBuffer("commands", Role.COMMANDS, words.nbytes, words.tobytes()),
            ProgramBuffer("result", Role.SCRATCH, size, bytes([UNTOUCHED]) * size),
        )
        found, first = [], 0
        for job in jobs:
            mark = (
                RESULT,
                places[job[-1].target.at.region].offset,
                min(self.soc.slot, job[-1].target.feature.channels),
            )
            found.append(ProgramJob(tuple(made[first : first + len(job)]), (), (RESULT,), mark))
            first += len(job)
        return Program(name, self.soc.name, buffers, COMMANDS, relocations, tuple(found), (), ())

    def trial(
        self,
        rule: str,
        name: str,
        jobs: Sequence[Sequence[Task]],
        answers: Mapping[str, Int64 | bytes],
        *,
        changes: Fields | None = None,
        hazard: Hazard = Hazard.HARMLESS,
        targets: tuple[Target, ...] = ("simulator", "mainline", "vendor"),
        needs: tuple[str, ...] = (),
    ) -> Trial:
        """Make a trial whose result is the last task's map; answers are maps, or the bytes themselves."""
        program = self.program(f"{rule}: {name}", jobs, changes)
        wanted = {
            title: answer if isinstance(answer, bytes) else slots(answer, self.soc) for title, answer in answers.items()
        }
        offset = program.jobs[-1].sentinel[1]
        size = {len(answer) for answer in wanted.values()}
        assert len(size) == 1, "answers of one size"
        return Trial(rule, name, program, (RESULT, offset, size.pop()), wanted, hazard, targets, needs)


def slots(values: Int64, soc: Soc) -> bytes:
    """Lay ``(rows, columns, channels)`` out as surfaces, saturated to bytes; lanes beyond the last channel are 0."""
    height, width, channels = values.shape
    surfaces = -(-channels // soc.slot)
    filled = np.zeros((height, width, surfaces * soc.slot), np.int8)
    filled[..., :channels] = np.clip(values, -128, 127)
    return filled.reshape(height, width, surfaces, soc.slot).transpose(2, 0, 1, 3).tobytes()


def changed(commands: CommandList, changes: Fields) -> CommandList:
    """Change fields of registers as the last write of each leaves them."""
    words = list(commands.words)
    for path, fields in changes.items():
        found = register(path)
        target = BY_NAME[found.block].target
        number = max(n for n, word in enumerate(words) if word >> 48 == target and word & 0xFFFF == found.offset)
        words[number] = write_register(found, found.decode(words[number] >> 16 & 0xFFFFFFFF) | dict(fields))
    return replace(commands, words=words)


def with_operands(task: ConvolutionTask, at: Location) -> ConvolutionTask:
    """Let BS find its per-channel operands elsewhere."""
    return replace(task, output=replace(task.output, operands=at))
