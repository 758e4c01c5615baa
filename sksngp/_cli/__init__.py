"""The command line, ``python -m sksngp``."""
