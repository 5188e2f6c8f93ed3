"""A trained generator on somebody's photograph, and as a model to be served."""
