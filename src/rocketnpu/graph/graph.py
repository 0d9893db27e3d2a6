"""The graph: tensors by number, operators in an order in which they can run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from rocketnpu.errors import ModelError
from rocketnpu.graph.operators import Operator
from rocketnpu.graph.tensors import Tensor


@dataclass(frozen=True, eq=False)
class Graph:
    """A network, or a part of one.

    ``tensors`` maps a tensor's number to it; ``inputs`` and ``outputs`` are numbers. Every stage that changes a
    graph makes a new one.
    """

    name: str
    tensors: Mapping[int, Tensor]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    bundles: tuple[frozenset[int], ...] = ()
    """Operators, by index, that the host runs as one, so that the NPU takes all of them or none. Of formats whose
    operators become several here."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """By operator: why it contradicts itself. It stays with the host, which may know better; what it makes has no known
    shape."""

    @cached_property
    def producers(self) -> Mapping[int, Operator]:
        """Operator that writes each tensor; graph inputs and constants have none."""
        return {number: operator for operator in self.operators for number in operator.outputs}

    @cached_property
    def consumers(self) -> Mapping[int, tuple[Operator, ...]]:
        """Operators that read each tensor, in order."""
        readers: dict[int, list[Operator]] = {number: [] for number in self.tensors}
        for operator in self.operators:
            for number in dict.fromkeys(operator.inputs):
                if number is not None:
                    readers[number].append(operator)
        return {number: tuple(found) for number, found in readers.items()}

    def input_of(self, operator: Operator, position: int) -> Tensor:
        """Return an operator's input that TFLite requires.

        Raises:
            ModelError: it is absent.
        """
        number = operator.input(position)
        if number is None:
            raise ModelError(f"operator {operator.index} ({operator.kind}) lacks input {position}")
        return self.tensors[number]

    def subgraph(self, operators: Iterable[Operator], name: str) -> Graph:
        """Cut out some operators as a graph of their own.

        Its inputs are the tensors that it reads and does not make, its outputs those that anything outside reads
        or that the whole graph returns, both in order of first use.
        """
        chosen = tuple(operators)
        inside = {operator.index for operator in chosen}
        made = {number for operator in chosen for number in operator.outputs}
        read = dict.fromkeys(number for operator in chosen for number in operator.inputs if number is not None)
        inputs = tuple(number for number in read if number not in made and not self.tensors[number].is_constant)
        outputs = tuple(
            number
            for operator in chosen
            for number in operator.outputs
            if number in self.outputs or any(reader.index not in inside for reader in self.consumers[number])
        )
        used = {number: self.tensors[number] for number in (*read, *sorted(made))}
        return Graph(name, used, chosen, inputs, outputs)

    def __str__(self) -> str:
        lines = [f"graph {self.name}: {list(self.inputs)} -> {list(self.outputs)}"]
        lines += [str(tensor) for _, tensor in sorted(self.tensors.items())]
        lines += [str(operator) for operator in self.operators]
        return "\n".join(lines)
