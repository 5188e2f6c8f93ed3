"""Landmarks, depth, normals and pose of a photographed face."""
