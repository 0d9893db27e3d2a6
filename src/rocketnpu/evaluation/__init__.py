"""How often a model is right, on the chip and by its framework's own kernels. It knows no chip."""
