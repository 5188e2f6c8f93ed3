"""Stand-in of a guide."""
