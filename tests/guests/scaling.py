"""What the method imports from its own package."""

SCALE = 0.25
