"""A trained generator's translations of the test split, and what is measured on them."""
