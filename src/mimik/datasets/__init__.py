"""Raw layouts of datasets, one file each."""
