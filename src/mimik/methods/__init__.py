"""Methods, one paper a file: Config, Method, losses, translation."""
