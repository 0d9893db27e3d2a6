"""Estimates of models, compiled programs and recordings, with what would change them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rocketnpu.compiler import compile_graph, compiled_graph, images_of
from rocketnpu.errors import UnsupportedError
from rocketnpu.estimate.cpu import cpu_us
from rocketnpu.estimate.estimate import Conditions, CpuOperator, Estimate, Lever, TimedTask
from rocketnpu.family import family_of
from rocketnpu.graph import Graph
from rocketnpu.partition.plan import Plan, plan
from rocketnpu.partition.rates import PUBLISHED, Rates
from rocketnpu.policy import Policy
from rocketnpu.program.program import Program

CLOCKS = ((800.0, "the highest rate called safe at the usual voltage, by one project"), (1000.0, "needs more voltage"))
"""Clocks to compare with, in MHz, and what is known of them (timing 6.3)."""
CHAINED_US = 1.0
"""Microseconds between tasks that the hardware chains (timing 4.2)."""
Timer = Callable[[Conditions], tuple[tuple[TimedTask, ...], ...]]
"""Times all parts under some conditions."""


def estimate_plan(divided: Plan, conditions: Conditions) -> Estimate:
    """Estimate a model that has been divided already; of a batch each part runs once for each image.

    Raises:
        UnsupportedError: the NPU takes nothing of it, or there is no timing model of the chip.
    """
    if not divided.parts:
        raise UnsupportedError(f"{divided.graph.name} has no operator that the NPU takes, so there is nothing to time")
    programs = [
        program for part in divided.parts for program in [compile_graph(part, divided.policy)] * images_of(part)
    ]
    cpu = tuple(CpuOperator(d.operator, d.kind, d.macs) for d in divided.decisions if not d.supported)
    return _estimate(divided.graph.name, divided.policy.chip, conditions, cpu, _programs_timer(programs))


def estimate_model(
    graph: Graph, conditions: Conditions, chip: str, allow_unproven: bool, rates: Rates = PUBLISHED
) -> Estimate:
    """Divide, compile and estimate a model for a board; see :func:`estimate_plan`. ``rates`` are its processor's."""
    policy = Policy(conditions.driver, allow_unproven, chip=chip)
    divided = plan(graph, policy)
    found = estimate_plan(divided, conditions)
    alone = cpu_us(graph, (decision.macs for decision in divided.decisions), rates)
    rate = "a rate kept on this board" if rates.measured else "a published rate"
    note = f"all of it, by {rate}; faster than the NPU" if alone < found.total_us else f"by {rate}"
    found = replace(
        found, levers=(*found.levers, Lever("the board's CPU instead", alone, found.total_us - alone, note))
    )
    found = replace(found, levers=(*found.levers, *_split_lever(divided, conditions, found)))
    other = plan(graph, replace(policy, allow_unproven=not allow_unproven))
    if not other.parts:
        return found
    total = estimate_plan(other, conditions).total_us
    cpu = sum(not decision.supported for decision in other.decisions)
    name = "all hardware rules" if not allow_unproven else "proven hardware rules only"
    note = "see `rocketnpu evidence`" if not allow_unproven else ""
    if cpu != len(found.cpu):
        note = f"{cpu} operators on the CPU instead of {len(found.cpu)}, whose time is not in it"
    return replace(found, levers=(*found.levers, Lever(name, total, found.total_us - total, note)))


def _split_lever(divided: Plan, conditions: Conditions, found: Estimate) -> tuple[Lever, ...]:
    """Return what it would change if all cores shared one inference; nothing where they are busy, or none can help."""
    family = family_of(divided.policy.chip)
    if conditions.cores > 1 or family.cores == 1:
        return ()
    times = [
        (family.split_us(compiled_graph(part), divided.policy, conditions, family.cores), images_of(part))
        for part in divided.parts
    ]
    known = [time * images for time, images in times if time is not None]
    if len(known) < len(times):
        return ()
    total = sum(known) + found.host_us
    if total >= found.total_us:
        return ()
    copies = "cores share memory" if conditions.driver == "vendor" else "the CPU's copies not"
    note = f"the delegate's option split=auto; barriers included, {copies}"
    return (Lever(f"one inference on all {family.cores} cores", total, found.total_us - total, note),)


def estimate_program(program: Program, conditions: Conditions) -> Estimate:
    """Estimate a compiled program."""
    return _estimate(program.name, program.chip, conditions, (), _programs_timer([program]))


def estimate_tasks(name: str, chip: str, conditions: Conditions, timer: Timer) -> Estimate:
    """Estimate any stream, given something that times its tasks."""
    return _estimate(name, chip, conditions, (), timer)


def _programs_timer(programs: Sequence[Program]) -> Timer:
    def timer(conditions: Conditions) -> tuple[tuple[TimedTask, ...], ...]:
        known = {id(program): family_of(program.chip).timed(program, conditions) for program in programs}
        return tuple(known[id(program)] for program in programs)

    return timer


def _estimate(name: str, chip: str, conditions: Conditions, cpu: tuple[CpuOperator, ...], timer: Timer) -> Estimate:
    def under(changed: Conditions) -> Estimate:
        board, spread = family_of(chip).board(changed)
        return Estimate(name, chip, board, timer(changed), cpu, spread)

    found = under(conditions)
    levers = []
    for clock, note in CLOCKS:
        if clock > found.board.clock_mhz:
            levers.append(_lever(f"NPU at {clock:g} MHz", found, under(replace(conditions, clock_mhz=clock)), note))
    if conditions.driver == "mainline":
        note = "needs a kernel that starts several tasks at once"
        changed = replace(conditions, start_us=CHAINED_US)
        levers.append(_lever("tasks chained by hardware", found, under(changed), note))
    return replace(found, levers=tuple(levers))


def _lever(name: str, before: Estimate, after: Estimate, note: str) -> Lever:
    return Lever(name, after.total_us, before.total_us - after.total_us, note)
