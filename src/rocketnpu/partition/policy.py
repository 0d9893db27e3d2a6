"""The policy by which a graph is divided (defined beside the package, for lowering depends on it too)."""

from rocketnpu.policy import Policy, Target

__all__ = ["Policy", "Target"]
