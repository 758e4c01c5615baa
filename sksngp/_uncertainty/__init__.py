"""The mathematics of the method, on arrays."""
