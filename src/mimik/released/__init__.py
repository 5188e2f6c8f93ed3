"""Weights that others have released, as results of mimik: `mimik import` (docs/weights.md)."""
