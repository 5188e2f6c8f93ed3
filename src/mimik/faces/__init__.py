"""What a prepared face is: landmarks, alignment, 3D reconstruction, masks, the packed store."""
