"""From a trained network to an immutable bundle of ONNX graphs."""
