"""Network architectures, one file each: no losses, no files."""
