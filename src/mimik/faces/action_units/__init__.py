"""Action units: measured on the mesh, read from OpenFace, or brought by the dataset."""
