"""Content and validation of model files."""
