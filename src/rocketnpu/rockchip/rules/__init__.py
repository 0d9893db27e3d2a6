"""What the NPU takes: an operator family a file, each docstring the published rule."""
