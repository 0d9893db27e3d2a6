"""The arithmetic of the frameworks' reference kernels, which knows no chip."""
