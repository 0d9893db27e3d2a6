"""Programs whose outputs tell a hardware rule from its alternatives."""
