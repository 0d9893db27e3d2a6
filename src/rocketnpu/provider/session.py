"""One execution provider at work: it claims what the NPU takes of a session's network, and makes kernels of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rocketnpu.delegate.log import Log, describe, say
from rocketnpu.delegate.options import Options
from rocketnpu.delegate.session import policy_for
from rocketnpu.device.base import Device
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.group import cores_of
from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.graph import Graph
from rocketnpu.model.onnx.proto import nodes_inputs
from rocketnpu.model.onnx.reader import OnnxModel, convert
from rocketnpu.onnx_host.inference import BORDERS
from rocketnpu.partition.plan import plan
from rocketnpu.program.cache import ProgramCache
from rocketnpu.program.program import Program
from rocketnpu.provider import NAME
from rocketnpu.provider.abi import Runtime, ffi
from rocketnpu.provider.context import DATA, DOMAIN, KIND, SOURCE, Context, node_of
from rocketnpu.provider.host_model import HostModel
from rocketnpu.provider.kernel import Kernel, Slot

_SHOWN = 3
"""Operators named in the refusal of a network that does not run on the NPU as a whole."""


@dataclass(frozen=True, eq=False)
class Claimed:
    """A part that the host was asked to hand over."""

    model: OnnxModel
    part: Graph
    placed: PlacedProgram
    nodes: tuple[int, ...]
    """Numbers of the host's nodes, ascending."""
    reals: Mapping[str, str]
    """By value that the part reads: the real numbers that the host hands over instead, where it does."""
    context: Context | None = None
    """Of a node that holds a compiled part: what it says of inputs and outputs."""

    @property
    def makes(self) -> frozenset[str]:
        """Names of all values that its nodes make, by which the host's graph of them is known again."""
        return _made(self.model, self.nodes)


class ProviderSession:
    """State behind one provider of one ``InferenceSession``."""

    def __init__(self, runtime: Runtime, options: Options, device: Device, cache: Path | None) -> None:
        """Take over ``device``, which is closed with the session; programs are kept in ``cache`` if there is one."""
        self.log = Log(options.verbose)
        self.options = options
        self._runtime, self._device = runtime, device
        self._policy = policy_for(device, options)
        self._core = cores_of(device)[0]
        self._cache = ProgramCache(cache)
        self._lock = threading.RLock()
        self._claimed: dict[frozenset[str], Claimed] = {}
        self._refusal: Exception | None = None
        self.writes_contexts = False
        """Whether the host writes a model with compiled parts."""
        self._kernels: list[Kernel] = []

    def claim(self, graph: Any) -> list[list[Any]]:
        """Return the nodes of each part of a graph that goes to the NPU.

        A network that this package does not understand stays with the host; the reason is printed. So does a part for
        which the device has no room, or for which something fails that nobody foresaw: parts are placed here, where
        the host can still keep them.

        Where ``require_full`` was asked for in vain, the first node is claimed all the same, and making its kernel
        fails: that ends the making of the session, which a failure here would not.

        Raises:
            DeviceError: the host does not show its graph.
        """
        if self._runtime.pointer("Graph_GetParentNode", graph) != ffi.NULL:
            return []  # the body of a node
        host = HostModel(self._runtime, graph)
        try:
            return self._divide(host)
        except Exception as error:
            self._forget()
            if self.options.require_full:
                self._refusal = error
                return [host.nodes[:1]]
            say(f"everything stays on the CPU: {describe(error)}")
            return []

    def _divide(self, host: HostModel) -> list[list[Any]]:
        """Decide, compile and place.

        Raises:
            ModelError: the network is not understood.
            UnsupportedError: ``require_full`` was asked for, and something would stay on the CPU.
        """
        model = convert(host.read(), "network", open_batch=False)
        divided = plan(model.graph, self._policy)
        reasons = {found.operator: found.reason for found in divided.decisions if not found.supported}
        self.log.graph(model.graph, reasons)
        found = [self._claim_context(model, host, number, data) for number, data in _contexts(model)]
        for part in divided.parts:
            claimed = self._claim(model, part, reasons)
            if claimed is not None:
                self._forget(claimed.makes)
                self._claimed[claimed.makes] = claimed
                found.append([host.nodes[number] for number in claimed.nodes])
        self._check_full(model.graph, reasons)
        return found

    def _claim(self, model: OnnxModel, part: Graph, reasons: dict[int, str]) -> Claimed | None:
        """Compile and place a part; where that fails its operators stay with the host, and ``reasons`` say why."""
        nodes = _nodes(model, part)
        try:
            reals = _reals(model, part, nodes)
            program = self._compile(part)
            with self._lock:
                placed = PlacedProgram(self._core, program, allow_unproven=self._policy.allow_unproven)
        except Exception as error:
            tell = self.log.detail if isinstance(error, UnsupportedError) else say
            tell(f"{part.name} stays on the CPU: {describe(error)}")
            reasons |= dict.fromkeys((operator.index for operator in part.operators), describe(error))
            return None
        return Claimed(model, part, placed, nodes, reals)

    def _claim_context(self, model: OnnxModel, host: HostModel, number: int, data: bytes) -> list[Any]:
        """Place a part that was compiled before; nobody else can compute its node.

        Raises:
            ModelError: it is damaged.
            DeviceError: it is for another chip, or the device has no room.
        """
        context = Context.of(data)
        with self._lock:
            placed = PlacedProgram(self._core, context.program, allow_unproven=self._policy.allow_unproven)
        claimed = Claimed(model, model.graph, placed, (number,), {}, context)
        self._forget(claimed.makes)
        self._claimed[claimed.makes] = claimed
        return [host.nodes[number]]

    def _forget(self, makes: frozenset[str] | None = None) -> None:
        """Free the part that makes these values, or all parts, as far as no kernel runs them."""
        for key in [makes] if makes is not None else list(self._claimed):
            claimed = self._claimed.pop(key, None)
            if claimed is not None:
                claimed.placed.close()

    def _check_full(self, graph: Graph, reasons: Mapping[int, str]) -> None:
        kinds = {operator.index: operator.kind for operator in graph.operators}
        left = [f"{kinds[index]}: {reason}" for index, reason in sorted(reasons.items()) if kinds[index] not in BORDERS]
        if self.options.require_full and left:
            more = f"; and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
            text = "; ".join(left[:_SHOWN])
            raise UnsupportedError(f"require_full: {len(left)} operators would stay on the CPU: {text}{more}")

    def _compile(self, part: Graph) -> Program:
        self.log.detail(f"compiling graph: {len(part.tensors)} tensors {len(part.operators)} operations")
        start = time.perf_counter()
        program = self._cache.program(part, self._policy)
        self.log.detail(f"compiled graph, took {(time.perf_counter() - start) * 1e3:.1f} ms")
        return program

    def kernel(self, graph: Any, fused: Any) -> Kernel:
        """Make the kernel of a graph of claimed nodes; ``fused`` is the node that stands for it.

        Raises:
            ModelError: the host cut its network differently than it was asked to, or ``require_full`` was asked for and
                the network is not understood.
            UnsupportedError: ``require_full`` was asked for, and something would stay on the CPU.
        """
        if self._refusal is not None:
            raise self._refusal
        runtime = self._runtime
        nodes = runtime.list("Graph", "Nodes", graph)
        made = {self._name(info) for node in nodes for info in runtime.list("Node", "Outputs", node)} - {""}
        claimed = self._claimed.get(frozenset(made))
        if claimed is None:
            raise ModelError(f"the host asks for a part of {len(nodes)} nodes, which it was not asked to hand over")
        given = [self._name(info) for info in runtime.list("Node", "Inputs", fused)]
        wanted = [self._name(info) for info in runtime.list("Node", "Outputs", fused)]
        program, context = claimed.placed.program, claimed.context
        if context is None:
            inputs = tuple(_slot(claimed, binding.tensor, given) for binding in program.inputs)
            outputs = tuple(_slot(claimed, binding.tensor, wanted) for binding in program.outputs)
        else:
            own = claimed.model.proto.graph.node[claimed.nodes[0]]
            inputs = _moved(context.inputs, list(own.input), given)
            outputs = _moved(context.outputs, list(own.output), wanted)
        kernel = Kernel(runtime, claimed.placed, inputs, outputs, self.log, self._lock)
        self._kernels.append(kernel)
        del self._claimed[claimed.makes]
        return kernel

    def _name(self, info: Any) -> str:
        return "" if info == ffi.NULL else self._runtime.text("GetValueInfoName", info)

    def context_node(self, fused: Any, kernel: Kernel) -> Any:
        """Make the node that holds a compiled part in a model that the host writes.

        Raises:
            DeviceError: the host refuses it.
        """
        return node_of(self._runtime, fused, Context(*kernel.compiled()))

    def drop(self, kernel: Kernel) -> None:
        """Free a kernel's memory on the device."""
        kernel.close()
        if kernel in self._kernels:
            self._kernels.remove(kernel)

    def close(self) -> None:
        """Free everything, the device too."""
        for kernel in list(self._kernels):
            self.drop(kernel)
        self._forget()
        self._device.close()


def _contexts(model: OnnxModel) -> list[tuple[int, bytes]]:
    """Return the nodes that hold parts which this provider compiled, with their bytes."""
    found = []
    for number, node in enumerate(model.proto.graph.node):
        if (node.op_type, node.domain) != (KIND, DOMAIN):
            continue
        entries = {attribute.name: attribute.s for attribute in node.attribute}
        if entries.get(SOURCE, b"").rstrip(b"\0").decode("utf-8", "replace") == NAME:
            found.append((number, entries.get(DATA, b"")))
    return found


def _nodes(model: OnnxModel, part: Graph) -> tuple[int, ...]:
    """Return the host's nodes of a part: those whose results are first made in it."""
    homes: dict[str, int] = {}
    for number, port in sorted(model.ports.items()):
        homes.setdefault(port.value, number)
    found: set[int] = set()
    for operator in part.operators:
        if any(number in model.ports and homes[model.ports[number].value] == number for number in operator.outputs):
            found.update(model.nodes.get(operator.index, ()))
    return tuple(sorted(found))


def _made(model: OnnxModel, nodes: tuple[int, ...]) -> frozenset[str]:
    return frozenset(name for number in nodes for name in model.proto.graph.node[number].output if name)


def _reals(model: OnnxModel, part: Graph, nodes: tuple[int, ...]) -> dict[str, str]:
    """Say which inputs of a part the host has as real numbers, when the part's nodes are cut out of its graph.

    Raises:
        UnsupportedError: the nodes cannot be cut out.
    """
    graph, made = model.proto.graph, _made(model, nodes)
    outside = {
        name for number, node in enumerate(graph.node) if number not in set(nodes) for name in nodes_inputs(node)
    }
    outside |= {value.name for value in graph.output}
    if not made & outside <= {model.ports[number].value for number in part.outputs}:
        raise UnsupportedError("values inside it are read as real numbers outside")
    read = {name for number in nodes for name in nodes_inputs(graph.node[number])} - made
    found = {}
    for number in part.inputs:
        value = model.ports[number].value
        if value in read:
            continue
        readers = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] == value]
        real = next((node.output[0] for node in readers if node.output[0] in read), None)
        if real is None:
            raise UnsupportedError(f"nobody hands over {value!r}")
        found[value] = real
    return found


def _moved(slots: tuple[Slot, ...], own: list[str], names: list[str]) -> tuple[Slot, ...]:
    """Return slots of a node that holds a context as those of the node that the host put in its place.

    Raises:
        ModelError: the context speaks of more than its node has.
    """
    if any(slot.place >= len(own) or own[slot.place] not in names for slot in slots):
        raise ModelError("its compiled context has more inputs or outputs than its node")
    return tuple(replace(slot, place=names.index(own[slot.place])) for slot in slots)


def _slot(claimed: Claimed, number: int, names: list[str]) -> Slot:
    port, tensor = claimed.model.ports[number], claimed.part.tensors[number]
    name = claimed.reals.get(port.value, port.value)
    if name not in names:
        raise ModelError(f"the host does not hand over {name!r}")
    return Slot(names.index(name), port, tensor, is_real=name != port.value)
