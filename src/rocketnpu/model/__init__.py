"""Reading models: files of TensorFlow Lite."""
