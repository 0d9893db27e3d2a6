"""From operators to layers."""
