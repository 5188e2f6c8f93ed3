"""The face mesh: found in a photograph, its topology, and drawn."""
