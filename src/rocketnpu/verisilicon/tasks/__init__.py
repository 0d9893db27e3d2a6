"""Tasks: what one job of the NPU computes, in stored values; still without addresses or bits."""
