"""Which operators the NPU takes, and why it does not take the others."""
