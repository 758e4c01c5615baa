"""Settings and initial arrays of networks, without TensorFlow."""
