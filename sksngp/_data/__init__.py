"""From `X` and `y` to projected samples that are ready to train on. No TensorFlow."""
