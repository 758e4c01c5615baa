"""Model files: what they may hold, and how they are checked."""
