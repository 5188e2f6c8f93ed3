"""Supervised networks that methods and evaluation start from."""
