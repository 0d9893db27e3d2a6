"""Graph passes: each takes a valid graph and returns a valid one that computes (nearly) the same in fewer steps.

One pass a file. A pass makes a change only if ``accepts`` says that the operator which comes out of it can be run;
changes that are not accepted are left undone, so a pass never makes a graph worse. Graph inputs and outputs keep
their numbers. The order of :data:`PASSES` matters: those that make the NPU take an operator come first, then those that
only save work: padding joins convolutions, activations join what they can follow, and only then are additions joined
with the convolutions before them.
"""

from __future__ import annotations

from collections.abc import Callable

from rocketnpu.graph.graph import Graph
from rocketnpu.graph.passes.flatten import flatten
from rocketnpu.graph.passes.fold_constants import fold_constants
from rocketnpu.graph.passes.fold_padding import fold_padding
from rocketnpu.graph.passes.fuse_activation import fuse_activation
from rocketnpu.graph.passes.fuse_add import fuse_add
from rocketnpu.graph.passes.idioms.byte_chains import byte_chains
from rocketnpu.graph.passes.idioms.dilation import dilate
from rocketnpu.graph.passes.idioms.large_strides import cut_strides
from rocketnpu.graph.passes.idioms.mirror_pad import mirror
from rocketnpu.graph.passes.idioms.moves import select_values
from rocketnpu.graph.passes.idioms.reductions import reduce_as_maps
from rocketnpu.graph.passes.idioms.single_rows import stand_up
from rocketnpu.graph.passes.idioms.upsampling import upsample
from rocketnpu.graph.passes.rewrite import Accepts, anything
from rocketnpu.graph.passes.widen_scales import widen_scales

Pass = Callable[[Graph, Accepts], Graph]
ENABLING: tuple[Pass, ...] = (
    *(fold_constants, dilate, upsample, mirror, reduce_as_maps, cut_strides, select_values, byte_chains),
    *(stand_up, widen_scales, flatten),
)
"""Passes without which the NPU would not take what comes out of them, in the order in which they run."""
PASSES: tuple[Pass, ...] = (*ENABLING, fold_padding, fuse_activation, fuse_add)
"""All passes, in the order in which they run."""

__all__ = [
    "ENABLING",
    "PASSES",
    "Accepts",
    "enable",
    "flatten",
    "fold_constants",
    "fold_padding",
    "fuse_activation",
    "fuse_add",
    "run_passes",
    "widen_scales",
]


def run_passes(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Run all passes."""
    return _run(PASSES, graph, accepts)


def enable(graph: Graph, accepts: Accepts = anything) -> Graph:
    """Run the passes that decide what the NPU takes."""
    return _run(ENABLING, graph, accepts)


def _run(passes: tuple[Pass, ...], graph: Graph, accepts: Accepts) -> Graph:
    for step in passes:
        graph = step(graph, accepts)
    return graph
