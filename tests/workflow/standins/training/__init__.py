"""The one training loop, and the training of a method with it."""
