"""Who executes a program: the simulator or an NPU through a kernel driver."""
