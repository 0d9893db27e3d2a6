"""Programs for these chips: addresses, sentinels, files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))
from vsi_cases import KINDS

from bench import Drawn, Seeded
from rocketnpu.compiler import compile_graph
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.failure import JobFailedError
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import UnsupportedError
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.program import store
from rocketnpu.program.checks import check_program
from rocketnpu.program.program import Role
from rocketnpu.verisilicon.assembly.sentinel import CERTAIN_BYTES, Written, sentinel
from rocketnpu.verisilicon.registers.jobs import instructions

CHIPS = ("a311d", "imx8mp")


def programs(kind, seeds, chip):
    for seed in range(seeds):
        divided = plan(KINDS[kind](Seeded(seed)).graph, Policy(chip=chip))
        for part in divided.parts:
            yield compile_graph(part, divided.policy)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", ["dense", "channelwise", "total", "concatenation", "reshape"])
def test_programs_are_whole_and_their_files_come_back(kind, chip, tmp_path):
    made = 0
    for program in programs(kind, 6, chip):
        check_program(program)
        path = tmp_path / "x.rknp"
        store.save(program, path)
        again = store.load(path)
        assert str(again) == str(program)
        assert again.buffers[again.commands].data == program.buffers[program.commands].data
        assert {task.kind for task in program.tasks} <= {1, 2}
        made += 1
    assert made >= 3


class Spans:
    """Where a placed program's buffers lie."""

    def __init__(self, placed, program):
        self.spans = [
            (buffer.address, buffer.address + buffer.size, spec.role, memory)
            for buffer, spec, memory in zip(placed.buffers, program.buffers, placed.memories, strict=True)
        ]

    def role(self, address):
        return next(role for start, end, role, _ in self.spans if start <= address < end)

    def fetch(self, address, size):
        start, _, _, memory = next(span for span in self.spans if span[0] <= address and address + size <= span[1])
        return bytes(memory[address - start : address - start + size])


@settings(max_examples=40)
@given(st.sampled_from(list(KINDS)), st.data(), st.sampled_from(CHIPS))
def test_every_address_lies_in_a_buffer_of_the_right_kind(kind, data, chip):
    divided = plan(KINDS[kind](Drawn(data.draw)).graph, Policy(chip=chip))
    for part in divided.parts:
        program = compile_graph(part, divided.policy)
        with SimulatorDevice(chip=chip) as device, PlacedProgram(device, program) as placed:
            spans = Spans(placed, program)
            for job, spec in enumerate(program.jobs):
                for task in range(len(spec.tasks)):
                    for _, fields in instructions(placed.task_words(job, task).view("<u4"), spans.fetch):
                        assert spans.role(fields["OUT_ADDRESS"]) in (Role.OUTPUT, Role.SCRATCH)
                        assert spans.role(fields["IN_ADDRESS"]) is not Role.COMMANDS


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(1, 60)), min_size=1, max_size=6))
def test_a_sentinel_is_written_by_its_own_task_alone(ranges):
    written = [Written(buffer, first, first + size) for buffer, first, size in ranges]
    for number, own in enumerate(written):
        found = sentinel(number, written)
        free = np.zeros(200, bool)
        free[own.first : own.end] = True
        for index, other in enumerate(written):
            if index != number and other.buffer == own.buffer:
                free[other.first : other.end] = False
        if found is not None:
            buffer, offset, size = found
            assert buffer == own.buffer
            assert size >= CERTAIN_BYTES
            assert free[offset : offset + size].all()
        else:
            runs = np.convolve(free, np.ones(CERTAIN_BYTES), "valid")
            assert not (runs == CERTAIN_BYTES).any()


@pytest.mark.parametrize("chip", CHIPS)
def test_a_dropped_job_is_noticed_and_named(chip):
    class Lazy(SimulatorDevice):
        def submit(self, jobs):
            super().submit(jobs[:-1])

    for program in programs("dense", 12, chip):
        with Lazy(chip=chip) as device, PlacedProgram(device, program) as placed:
            inputs = [np.zeros(binding.shape, binding.dtype.value) for binding in program.inputs]
            with pytest.raises(JobFailedError, match=f"job {len(program.jobs) - 1} "):
                placed.run(inputs)


@pytest.mark.parametrize("chip", CHIPS)
def test_an_output_of_few_bytes_gets_a_task_that_tells(chip):
    found = [
        p for p in programs("fully_connected", 40, chip) if p.outputs and np.prod(p.outputs[0].shape) < CERTAIN_BYTES
    ]
    assert found
    for program in found:
        assert "a sign" in program.tasks[-1].label
        assert program.jobs[-1].sentinel[2] >= CERTAIN_BYTES


def test_a_part_that_computes_nothing_is_refused():
    graph = next(
        g
        for seed in range(200)
        if (g := KINDS["reshape"](Seeded(seed)).graph)
        and plan(g, Policy(chip="a311d")).decisions[0].reason.startswith("alone it computes nothing")
    )
    with pytest.raises(UnsupportedError, match="computes nothing"):
        compile_graph(graph, Policy(chip="a311d"))
