"""The prepared dataset: how it is made, stored and read."""
