"""ONNX, written from the weights alone: no TensorFlow here."""
