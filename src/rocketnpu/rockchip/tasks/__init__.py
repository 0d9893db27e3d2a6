"""NPU work, still symbolic: no address, no bit position."""
