"""Whether a board would run other programs than the simulator does, and which."""

from __future__ import annotations

from rocketnpu.compiler import compiled_graph
from rocketnpu.family import family_of
from rocketnpu.graph import Graph
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy


def board_remark(graph: Graph, policy: Policy) -> str:
    """Say what a board with proven rules alone would do otherwise than a policy of the simulator; empty if nothing."""
    if policy.target != "simulator":
        return ""
    family, board = family_of(policy.chip), Policy("mainline", allow_unproven=False, chip=policy.chip)
    mine, other = plan(graph, policy), plan(graph, board)
    left = sum(a.supported and not b.supported for a, b in zip(mine.decisions, other.decisions, strict=True))
    rules = sorted({rule for part in map(compiled_graph, mine.parts) for rule in family.work(part, policy).rules})
    if not left and not rules:
        return ""
    told = f"leaves {left} of these operators to the CPU" if left else "does the same operators in other ways"
    return (
        f"a board with proven rules alone {told}, for here unproven ones are used ({', '.join(rules)}); "
        "--target mainline runs the board's programs"
    )
