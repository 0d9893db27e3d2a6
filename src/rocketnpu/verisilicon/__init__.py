"""NPUs by VeriSilicon: chip facts, registers, coefficients, simulator and recorded streams of two generations."""
