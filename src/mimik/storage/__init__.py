"""Files on disk: each kind is read and written in one place."""
