"""A virtual board: Debian's kernel in QEMU, the unmodified NPU driver, and the simulator as the NPU behind it."""
