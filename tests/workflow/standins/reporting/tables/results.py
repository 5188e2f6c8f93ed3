"""Stand-in of a table."""
