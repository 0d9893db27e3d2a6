"""The TensorFlow Lite door: a delegate for LiteRT and for every other host of TensorFlow Lite.

In Python::

    from ai_edge_litert.interpreter import Interpreter
    from rocketnpu import Delegate

    interpreter = Interpreter(model_path="model.tflite", experimental_delegates=[Delegate()])

For hosts that load delegates from a file, ``rocketnpu build-delegate`` makes one.
"""

from rocketnpu.delegate.delegate import Delegate

__all__ = ["Delegate"]
