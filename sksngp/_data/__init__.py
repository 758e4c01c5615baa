"""Conversion of `X` and `y` to projected samples, without TensorFlow."""
