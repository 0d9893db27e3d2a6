"""One delegate at work: it looks at a host's network, claims what the NPU takes, and hands out kernels for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rocketnpu.compiler import compiled_graph, constant_outputs
from rocketnpu.delegate import host_graph
from rocketnpu.delegate.abi import ffi
from rocketnpu.delegate.kernel import Kernel, Workshop
from rocketnpu.delegate.log import Log, describe, say
from rocketnpu.delegate.options import Options
from rocketnpu.device.base import Device, SharesMemory
from rocketnpu.device.group import cores_of
from rocketnpu.device.standing import policy_of, standing_of
from rocketnpu.errors import InputError, ModelError, UnsupportedError
from rocketnpu.family import family_of
from rocketnpu.graph import Graph
from rocketnpu.graph.propagate import propagate
from rocketnpu.graph.verify import verify
from rocketnpu.partition.plan import plan
from rocketnpu.partition.rates import PUBLISHED, Rates, local_rates
from rocketnpu.policy import Policy
from rocketnpu.program.cache import ProgramCache
from rocketnpu.program.program import Program
from rocketnpu.program.split import SharedProgram, SplitProgram

_SHOWN = 3
"""Operators named in the refusal of a network that does not run on the NPU as a whole."""


@dataclass(frozen=True)
class Claim:
    """What of a network goes to the NPU."""

    parts: tuple[Graph, ...]
    reasons: Mapping[int, str]
    """By operator: why it stays on the CPU."""

    @property
    def nodes(self) -> tuple[int, ...]:
        """The host's numbers of all claimed operators, ascending."""
        return tuple(sorted(operator.index for part in self.parts for operator in part.operators))


def policy_for(device: Device, options: Options) -> Policy:
    """Return the rules of a device, as far as the options allow them."""
    found = policy_of(
        device, allow_unproven=options.allow_unproven, minimum_macs=options.minimum_macs, target=options.target
    )
    # Who asks for every part, however small, gets every part.
    return replace(found, weighs=options.minimum_macs > 0, rates=_rates(found.chip))


def _rates(chip: str) -> Rates:
    """Return this board's rates; a damaged file of them is no reason to refuse a host's network."""
    try:
        return local_rates(chip)
    except InputError as error:
        say(str(error))
        return PUBLISHED


class Session:
    """State behind one native delegate. Several interpreters may use it, from any threads."""

    def __init__(self, options: Options, device: Device, cache: Path | None) -> None:
        """Take over ``device``, which is closed with the session; programs are kept in ``cache`` if there is one.

        Interpreters that use the session are spread over the members of a device group; with ``split`` each may use
        all of them.
        """
        self.options = options
        self.log = Log(options.verbose)
        self._device = device
        self._policy = policy_for(device, options)
        standing = standing_of(device)
        for rule, found in {**standing.proven, **standing.refuted}.items():
            self.log.detail(f"rule {rule}: {found}")
        self._cache = ProgramCache(cache)
        cores = cores_of(device)
        teams = [(cores[0], cores[1:])] if options.split else [(core, ()) for core in cores]
        self._workshops = [
            Workshop(
                core,
                self._compile_resized,
                self.log,
                self._policy.allow_unproven,
                tuple(helpers),
                self._split,
            )
            for core, helpers in teams
        ]
        self._kernels: dict[Kernel, tuple[int, Workshop]] = {}
        self._ready: dict[tuple[int, tuple[int, ...]], Kernel] = {}
        """Parts that are placed and that the host has not asked for yet."""

    def _split(self, graph: Graph, cores: int) -> SplitProgram | SharedProgram | None:
        shares = isinstance(cores_of(self._device)[0], SharesMemory)
        return family_of(self._policy.chip).split(compiled_graph(graph), self._policy, cores, shares_memory=shares)

    def claim(self, context: Any) -> Claim:
        """Decide what of the host's network goes to the NPU, compile it and place it on the device.

        A network that this package does not understand stays with the host, which may; the reason is printed. So does
        a part for which the device has no room, or for which something fails that nobody foresaw: a delegate never
        makes a program worse. That is why parts are placed before the host has given anything up.

        Raises:
            ModelError: ``require_full`` was asked for and the network is not understood.
            UnsupportedError: ``require_full`` was asked for, and something would stay on the CPU.
        """
        try:
            graph = host_graph.read_graph(context)
            supposed = host_graph.supposed_shapes(graph)
            if supposed:
                self.log.detail(f"sizes are placeholders, supposed until they are known: {_shown(supposed)}")
                graph = propagate(graph, supposed)
            # What a part will compute is not known before its sizes are.
            policy = replace(self._policy, minimum_macs=0) if supposed else self._policy
            decisions = plan(graph, policy).decisions
            reasons = {found.operator: found.reason for found in decisions if not found.supported}
            self.log.graph(graph, reasons)
            parts = self._parts(context, graph, reasons, compiles=not supposed)
            self._check_full(graph, reasons)
        except Exception as error:
            self.forget(context)
            if self.options.require_full:
                raise
            say(f"everything stays on the CPU: {describe(error)}")
            return Claim((), {})
        return Claim(tuple(parts), reasons)

    def _check_full(self, graph: Graph, reasons: Mapping[int, str]) -> None:
        if self.options.require_full and reasons:
            raise UnsupportedError(_refusal(graph, reasons))

    def _parts(self, context: Any, graph: Graph, reasons: dict[int, str], *, compiles: bool) -> list[Graph]:
        """Cut out, compile and place the parts into which the host cuts what has no reason against it.

        A part for which that fails gets a reason; the host is then asked again, for it may cut the rest otherwise.
        """
        made: dict[tuple[int, ...], Graph] = {}
        while True:
            wanted = [operator.index for operator in graph.operators if operator.index not in reasons]
            cut = host_graph.preview(context, wanted) if wanted else []
            for nodes in made.keys() - {nodes for nodes, _ in cut}:
                del made[nodes]
                self.drop(self._ready.pop((_key(context), nodes)))
            failed: dict[int, str] = {}
            for number, (nodes, outputs) in enumerate(cut):
                if nodes in made:
                    continue
                try:
                    part = _cut(graph, nodes, outputs, number)
                    self._place(context, part, self._compiled(part) if compiles else None)
                    made[nodes] = part
                except Exception as error:
                    tell = self.log.detail if isinstance(error, UnsupportedError) else say
                    tell(f"part {number} stays on the CPU: {describe(error)}")
                    failed |= dict.fromkeys(nodes, describe(error))
            if not failed:
                return [made[nodes] for nodes, _ in cut]
            reasons.update(failed)

    def _place(self, context: Any, part: Graph, program: Program | None) -> None:
        workshop = self._workshop(_key(context))
        kernel = Kernel(workshop, part, program)
        self._kernels[kernel] = _key(context), workshop
        self._ready[_key(context), _nodes(part)] = kernel

    def kernel(self, context: Any, nodes: tuple[int, ...]) -> Kernel:
        """Return the part that consists of ``nodes``, claimed before in the same context.

        Raises:
            ModelError: the host cut its network differently than it had announced.
        """
        ready = self._ready.pop((_key(context), nodes), None)
        if ready is None:
            raise ModelError(f"the host asks for a part of operators {list(nodes)}, which it did not announce")
        return ready

    def forget(self, context: Any) -> None:
        """Drop parts that were claimed in this context and that the host never asked for."""
        for key in [key for key in list(self._ready) if key[0] == _key(context)]:
            self.drop(self._ready.pop(key))

    def drop(self, kernel: Kernel) -> None:
        """Free a kernel's memory on the device."""
        kernel.close()
        self._kernels.pop(kernel, None)

    def close(self) -> None:
        """Free everything, the device too. Kernels that the host still holds fail from now on."""
        try:
            for kernel in list(self._kernels):
                self.drop(kernel)
        finally:  # of a device that is gone no memory can be freed, and its file is open still
            self._ready.clear()
            self._device.close()

    def _workshop(self, key: int) -> Workshop:
        """Choose a core: the one where the interpreter's other parts are, else the one with the fewest."""
        used = list(self._kernels.values())
        mine = [workshop for owner, workshop in used if owner == key]
        return mine[0] if mine else min(self._workshops, key=lambda one: sum(one is workshop for _, workshop in used))

    def _compile(self, graph: Graph) -> Program:
        self.log.detail(f"compiling graph: {len(graph.tensors)} tensors {len(graph.operators)} operations")
        start = time.perf_counter()
        program = self._cache.program(graph, self._policy)
        self.log.detail(f"compiled graph, took {(time.perf_counter() - start) * 1e3:.1f} ms")
        return program

    def _compiled(self, graph: Graph) -> Program | None:
        """Compile a part; None where all that it makes is known before it runs."""
        return None if len(constant_outputs(graph)) == len(graph.outputs) else self._compile(graph)

    def _compile_resized(self, graph: Graph) -> Program | None:
        """Compile a part in a new shape, whose operators are no longer with the host.

        Raises:
            UnsupportedError: the NPU does not take it as a whole, or it is too small to pay.
            ModelError: its shapes disagree.
        """
        verify(graph)
        divided = plan(graph, self._policy)
        whole = len(divided.parts) == 1 and all(found.supported for found in divided.decisions)
        if not whole:
            refused = next((found for found in divided.decisions if not found.supported), None)
            reason = f"operator {refused.operator} ({refused.kind}): {refused.reason}" if refused else "it is cut"
            raise UnsupportedError(reason)
        return self._compiled(graph)


def _key(context: Any) -> int:
    return int(ffi.cast("intptr_t", context))


def _nodes(graph: Graph) -> tuple[int, ...]:
    return tuple(operator.index for operator in graph.operators)


def _cut(graph: Graph, nodes: tuple[int, ...], outputs: tuple[int, ...], number: int) -> Graph:
    chosen = set(nodes)
    part = graph.subgraph((o for o in graph.operators if o.index in chosen), f"part {number}")
    if set(part.outputs) != set(outputs):
        raise ModelError(f"{part.name} gives tensors {sorted(part.outputs)}, the host expects {sorted(outputs)}")
    return part


def _shown(shapes: Mapping[int, tuple[int, ...]]) -> str:
    return ", ".join(f"tensor {number} {'x'.join(map(str, shape))}" for number, shape in shapes.items())


def _refusal(graph: Graph, reasons: Mapping[int, str]) -> str:
    kinds = {operator.index: operator.kind for operator in graph.operators}
    lines = [f"operator {index} ({kinds[index]}): {reason}" for index, reason in sorted(reasons.items())]
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"require_full: {len(lines)} operators would stay on the CPU: {'; '.join(lines[:_SHOWN])}{more}"
