"""Read quantised ONNX models into the graph.

The way of a model: ``proto`` (the file, trusted), ``expand`` (both quantised forms as one), ``values`` (constants and
shapes), ``steps`` (which nodes are one operator on integers), then a file a family of operators (``windows``,
``pooling``, ``products``, ``elementwise`` with ``clamps``, ``moving``), which write the graph with ``writer``. Maps are
NHWC in the graph and NCHW in the file: ``layout``. ``reader`` puts it together.
"""

from rocketnpu.model.onnx.reader import OnnxModel, load, parse

__all__ = ["OnnxModel", "load", "parse"]
