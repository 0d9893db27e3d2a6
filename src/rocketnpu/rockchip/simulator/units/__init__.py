"""The silicon, unit by unit."""
