"""Statistics of out-of-distribution scores; nothing here knows a network."""
