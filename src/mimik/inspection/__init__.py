"""A dataset for a person to look at: what its archive holds, what was prepared, sheets and folders of images."""
