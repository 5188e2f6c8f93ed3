"""Action units: measured on the mesh, read from OpenFace, or provided by the dataset."""
