"""Stand-in of a figure."""
