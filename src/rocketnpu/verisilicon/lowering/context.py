"""What lowering an operator needs to know: the graph, where its tensors lie, and the pool of constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import Graph, Tensor
from rocketnpu.policy import Policy
from rocketnpu.program.constants import ConstantPool, Location
from rocketnpu.program.context import GraphContext
from rocketnpu.verisilicon.evidence import TABLE
from rocketnpu.verisilicon.soc import Soc
from rocketnpu.verisilicon.tasks.task import Planes


@dataclass
class Context(GraphContext):
    """One compilation: read by every operator's lowering, written through ``constants`` and ``fresh`` only."""

    graph: Graph
    soc: Soc
    features: Mapping[int, Planes]
    policy: Policy
    constants: ConstantPool = field(default_factory=ConstantPool)
    temporaries: int = 0

    def planes(self, tensor: Tensor) -> Planes:
        """Return where a tensor lies."""
        return self.features[tensor.index]

    def fresh(self, channels: int, height: int, width: int) -> Planes:
        """Make a temporary map in a region of its own."""
        self.temporaries += 1
        return Planes(Location(f"temporary{self.temporaries}"), channels, height, width)

    def need(self, rule: str) -> tuple[str, ...]:
        """Return a rule that a task relies on, if the policy lets it.

        Raises:
            UnsupportedError: it does not.
        """
        if not TABLE.allows(rule, self.policy):
            raise UnsupportedError(f"it needs a hardware rule without proof on this chip: {rule}")
        return (rule,)
