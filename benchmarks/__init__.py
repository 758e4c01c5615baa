"""Benchmarks of quality, speed and memory; CONTRIBUTING.md lists them."""

import os

# Suppress the messages with which TensorFlow starts. Must be set before its import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
