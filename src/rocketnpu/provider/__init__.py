"""An execution provider for ONNX Runtime: the door by which programs with an ``InferenceSession`` use the NPU.

The way in: ``shell.c`` (the shared library that ONNX Runtime loads), ``library`` (what it calls), ``callbacks`` (the
functions that ONNX Runtime is given), ``session`` (one provider at work), ``host_model`` (ONNX Runtime's graph as an
ONNX model), ``kernel`` (one part, run on the host's memory), ``abi`` (what of ONNX Runtime's C interface is used).
"""

NAME = "RocketNpuExecutionProvider"
"""Name of the execution provider; ONNX Runtime wants it to end so."""
VENDOR = "rocketnpu"
