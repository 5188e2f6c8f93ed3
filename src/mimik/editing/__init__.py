"""A trained generator applied to photographs, and served as a model."""
