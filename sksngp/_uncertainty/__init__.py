"""Mathematics of the method, as functions of arrays."""
