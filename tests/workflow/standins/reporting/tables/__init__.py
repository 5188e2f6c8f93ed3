"""Stand-in of a room."""
