"""What lowering an operator needs to know: the graph, where its tensors lie, and the pool of constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rocketnpu.graph import Graph, Tensor
from rocketnpu.policy import Policy
from rocketnpu.program.constants import ConstantPool
from rocketnpu.program.context import GraphContext
from rocketnpu.rockchip.evidence import TABLE
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.feature import FeatureMap


@dataclass
class Context(GraphContext):
    """One compilation: read by every operator's lowering, written through ``constants`` and ``fresh`` only."""

    graph: Graph
    soc: Soc
    features: Mapping[int, FeatureMap]
    policy: Policy = field(default_factory=Policy)
    constants: ConstantPool = field(default_factory=ConstantPool)
    notes: list[str] = field(default_factory=list)
    """What the user should know about how an operator is done."""
    folds: bool = True
    """Whether depthwise layers may be folded: not where cores are to share their rows."""
    temporaries: int = 0

    def allows(self, rule: str) -> bool:
        """Say whether the policy lets a program rely on a hardware rule, by its name."""
        return TABLE.allows(rule, self.policy)

    def feature(self, tensor: Tensor) -> FeatureMap:
        """Return where a tensor lies."""
        return self.features[tensor.index]

    def fresh(self, height: int, width: int, channels: int) -> FeatureMap:
        """Make a temporary map in a region of its own."""
        self.temporaries += 1
        return FeatureMap.packed(f"temporary{self.temporaries}", height, width, channels, self.soc.slot)
