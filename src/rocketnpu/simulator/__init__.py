"""The silicon, unit by unit: registers and memory, nothing else."""
