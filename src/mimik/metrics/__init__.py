"""Metrics, one file each: pure compute."""
