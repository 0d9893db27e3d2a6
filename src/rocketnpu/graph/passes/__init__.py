"""Graph passes: each takes a valid graph and returns a valid one that computes (nearly) the same in fewer steps.

One pass a file. A pass makes a change only if ``accepts`` says that the operator which comes out of it can be run;
changes that are not accepted are left undone, so a pass never makes a graph worse. Graph inputs and outputs keep
their numbers. The order of :data:`PASSES` matters: padding and flattening make convolutions, activations join what
they can follow, and only then are additions joined with the convolutions before them.
"""

from __future__ import annotations

from collections.abc import Callable

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.passes.flatten import flatten
from rocketnpu.graph.passes.fold_padding import fold_padding
from rocketnpu.graph.passes.fuse_activation import fuse_activation
from rocketnpu.graph.passes.fuse_add import fuse_add
from rocketnpu.graph.passes.rewrite import Accepts, anything

PASSES: tuple[Callable[[Graph, Accepts], Graph], ...] = (fold_padding, flatten, fuse_activation, fuse_add)
"""All passes, in the order in which they run."""

__all__ = ["PASSES", "Accepts", "flatten", "fold_padding", "fuse_activation", "fuse_add", "run_passes"]


def run_passes(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Run all passes."""
    for step in PASSES:
        graph = step(graph, accepts)
    return graph
