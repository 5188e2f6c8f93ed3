"""A package of modules for mimik that is none of mimik's: one of every kind, as small as it can be."""
