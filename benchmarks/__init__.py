"""Measurements behind the README and the defaults; see CONTRIBUTING.md."""
