"""The mesh's triangles: a closed, consistently oriented surface with its parts in place."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from mimik.faces.mesh.topology import IBUG_68, VERTICES, _inside, topology, vertex_normals
from mimik.labels import SEGMENTATION_CLASSES

pytest.importorskip("mediapipe")


def test_is_one_closed_disc() -> None:
    triangles = topology().triangles
    edges = Counter(frozenset(edge) for triangle in triangles.tolist() for edge in combinations(triangle, 2))
    vertices = {vertex for triangle in triangles.tolist() for vertex in triangle}
    assert vertices == set(range(VERTICES))
    assert set(edges.values()) == {1, 2}
    assert len(vertices) - len(edges) + len(triangles) == 1  # Euler: a disc without holes
    directed = Counter((t[k], t[(k + 1) % 3]) for t in triangles.tolist() for k in range(3))
    assert max(directed.values()) == 1  # neighbours run through their edge in opposite directions


def test_every_part_has_triangles_and_pairs_are_balanced() -> None:
    counts = Counter(SEGMENTATION_CLASSES[index] for index in topology().classes)
    assert set(counts) == {"skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"}
    assert counts["l_eye"] == counts["r_eye"] == 14
    assert counts["l_brow"] == counts["r_brow"] == 8
    assert counts["u_lip"] == counts["l_lip"]


def test_a_line_that_is_no_loop_of_edges_is_refused() -> None:
    triangles = [(0, 1, 2), (0, 2, 3)]
    with pytest.raises(ValueError, match="closed line"):
        _inside(triangles, [0, 1, 3, 0])
    with pytest.raises(ValueError, match="closed line"):
        _inside(triangles, [0, 1, 2])


def test_landmarks_are_68_different_vertices() -> None:
    assert len(set(IBUG_68)) == 68


def test_normal_of_a_known_triangle() -> None:
    # Clockwise on the screen in the plane z = x: the outer side looks towards (-1, 0, 1).
    points = np.array([[0.0, 0, 0], [1, 0, 1], [0, 1, 0], [5, 5, 5]])
    normals = vertex_normals(points, np.array([[0, 1, 2]]))
    assert np.allclose(normals[:3], np.array([-1, 0, 1]) / np.sqrt(2))
    assert np.allclose(normals[3], (0, 0, 1))
