"""Rules that several families of chips have: each says why an operator is not taken, its docstring is published."""
