"""Measurements behind the README and the defaults; see CONTRIBUTING.md."""

import os

# Before anything imports TensorFlow, whose start-up notes would drown the tables.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
