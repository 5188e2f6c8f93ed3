"""Stand-in of a module that `runs` imports."""

VERSION = 1
