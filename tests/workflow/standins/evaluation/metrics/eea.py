"""Stand-in of a metric."""
