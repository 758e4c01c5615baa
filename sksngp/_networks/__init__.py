"""What a network is, as values. No TensorFlow."""
