"""Stand-in of a module that method_training imports."""

VERSION = 1
