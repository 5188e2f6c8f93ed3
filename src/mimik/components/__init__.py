"""What a method is made of: conditions, losses, critics, parts of a face."""
