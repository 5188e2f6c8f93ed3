"""Stand-in of a method."""
