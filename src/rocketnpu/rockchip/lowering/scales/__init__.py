"""From scales to the numbers of a layer: factors, clamps, operands."""
