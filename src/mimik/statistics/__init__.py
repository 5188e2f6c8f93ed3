"""Uncertainty, counts and similarity: pure computations on arrays."""
