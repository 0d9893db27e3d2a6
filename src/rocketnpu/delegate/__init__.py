"""The TensorFlow Lite door."""
