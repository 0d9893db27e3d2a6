"""What the chip must compute, in plain integers, apart from the simulator."""
