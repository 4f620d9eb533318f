"""Engines that run a bundle: ONNX Runtime and Triton, as classifiers with gradients."""
