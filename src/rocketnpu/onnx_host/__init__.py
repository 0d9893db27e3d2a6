"""ONNX Runtime as the host of a network: its own results, and what it runs around the NPU's parts."""
