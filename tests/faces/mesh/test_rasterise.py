"""The z-buffer against shapes whose picture is known in closed form."""

import numpy as np
import pytest

from mimik.faces.mesh.rasterise import encode_depth, encode_normals, interpolate, rasterise
from mimik.faces.mesh.topology import vertex_normals


def test_covers_exactly_the_pixel_centres_inside_a_triangle() -> None:
    points = np.array([[1.0, 1.0, 0.0], [9.3, 2.1, 0.0], [3.2, 7.7, 0.0]])
    raster = rasterise(points, np.array([[0, 1, 2]]), 10)
    x, y = np.meshgrid(np.arange(10) + 0.5, np.arange(10) + 0.5)
    inside = np.ones((10, 10), bool)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        edge = points[b, :2] - points[a, :2]
        inside &= edge[0] * (y - points[a, 1]) - edge[1] * (x - points[a, 0]) >= 0
    assert inside.sum() > 15
    assert np.array_equal(raster.covered, inside)


def test_weights_reproduce_the_pixel_centres() -> None:
    points = np.array([[-5.0, 2.0, 3.0], [14.0, -3.0, 1.0], [6.0, 13.0, -2.0]])  # reaches beyond the picture
    triangles = np.array([[0, 1, 2]])
    raster = rasterise(points, triangles, 8)
    rows, columns = np.nonzero(raster.covered)
    found = interpolate(raster, triangles, points)
    assert np.abs(found[:, 0] - (columns + 0.5)).max() < 1e-5
    assert np.abs(found[:, 1] - (rows + 0.5)).max() < 1e-5
    assert np.abs(raster.weights.sum(axis=1) - 1).max() < 1e-6


def test_nearer_triangle_wins_whatever_the_order() -> None:
    square = [[0, 0], [8, 0], [8, 8], [0, 8]]
    points = np.array([[*corner, 1.0] for corner in square] + [[2, 2, 5.0], [6, 2, 5.0], [6, 6, -5.0]], float)
    back, front = [[0, 1, 2], [0, 2, 3]], [[4, 5, 6]]
    for triangles, number in ((back + front, 2), (front + back, 0)):
        raster = rasterise(points, np.array(triangles), 8)
        shown = raster.triangle == number
        # z of the front triangle is 5 - 2.5 (y - 2): above the square's 1 for y < 3.6 only.
        expected = np.zeros((8, 8), bool)
        expected[2, 2:6], expected[3, 3:6] = True, True
        assert np.array_equal(shown, expected)
        assert raster.covered.all()  # no crack along the square's diagonal, which runs through pixel centres


def test_culls_what_turns_its_back() -> None:
    points = np.array([[0.0, 0.0, 0.0], [8.0, 0.0, 0.0], [0.0, 8.0, 0.0]])
    turned = np.array([[0, 2, 1]])
    assert not rasterise(points, turned, 8).covered.any()
    raster = rasterise(points, turned, 8, cull=False)
    assert raster.covered.sum() == 36  # the half square with its diagonal of 8 centres
    assert np.allclose(interpolate(raster, turned, points)[0], (0.5, 0.5, 0))


def test_degenerate_and_outside_triangles_show_nothing() -> None:
    points = np.array([[1.0, 1, 0], [5, 5, 0], [3, 3, 0], [-9, -9, 0], [-1, -9, 0], [-1, -1, 0]])
    assert not rasterise(points, np.array([[0, 1, 2], [3, 4, 5]]), 8, cull=False).covered.any()


def test_coordinates_must_be_finite() -> None:
    with pytest.raises(ValueError, match="not finite"):
        rasterise(np.array([[0, 0, 0], [1, 0, 0], [0, np.nan, 0.0]]), np.array([[0, 1, 2]]), 4)


def test_shared_edges_never_leave_cracks() -> None:
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.linspace(-2, 66, 18), np.linspace(-2, 66, 18)), axis=-1)
    grid[1:-1, 1:-1] += random.uniform(-1.5, 1.5, (16, 16, 2))
    points = np.column_stack([grid.reshape(-1, 2), random.normal(size=324)])
    a = (np.arange(17)[:, None] * 18 + np.arange(17)).ravel()
    triangles = np.concatenate([np.stack([a, a + 1, a + 19], 1), np.stack([a, a + 19, a + 18], 1)])
    assert rasterise(points, triangles, 64).covered.all()


def sphere(centre: float, radius: float, rings: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """The front half of a sphere in pixels, z towards the viewer, clockwise on the screen."""
    polar, azimuth = np.meshgrid(
        np.linspace(0, np.pi / 2, rings + 1), np.linspace(0, 2 * np.pi, 4 * rings, endpoint=False), indexing="ij"
    )
    points = np.stack(
        [
            centre + radius * np.sin(polar) * np.cos(azimuth),
            centre + radius * np.sin(polar) * np.sin(azimuth),
            radius * np.cos(polar),
        ],
        axis=-1,
    ).reshape(-1, 3)
    ring, step = np.meshgrid(np.arange(rings), np.arange(4 * rings), indexing="ij")
    here, right = ring * 4 * rings + step, ring * 4 * rings + (step + 1) % (4 * rings)
    inner = np.stack([here, here + 4 * rings, right + 4 * rings], axis=-1).reshape(-1, 3)
    outer = np.stack([here, right + 4 * rings, right], axis=-1).reshape(-1, 3)
    return points, np.concatenate([inner, outer])


def test_sphere_has_its_depth_and_normals() -> None:
    centre, radius, size = 50.3, 40.0, 100
    points, triangles = sphere(centre, radius)
    raster = rasterise(points, triangles, size)
    x, y = np.meshgrid(np.arange(size) + 0.5 - centre, np.arange(size) + 0.5 - centre)
    off_axis = np.hypot(x, y)
    assert raster.covered[off_axis < radius - 0.1].all()
    assert not raster.covered[off_axis > radius].any()

    values = interpolate(raster, triangles, np.column_stack([points[:, 2], vertex_normals(points, triangles)]))
    inner = (off_axis < 0.95 * radius)[raster.covered]
    z = np.sqrt(radius**2 - off_axis[raster.covered] ** 2, where=inner, out=np.zeros(len(inner)))
    assert np.abs(values[inner, 0] - z[inner]).max() < 0.05
    expected = np.stack([x[raster.covered], -y[raster.covered], z], axis=1)[inner] / radius  # y up
    assert np.abs(values[inner, 1:] - expected).max() < 0.02

    stored = encode_normals(values[:, 1:], raster)
    decoded = stored[raster.covered][inner] / 127.5 - 1
    assert np.abs(decoded - expected).max() < 0.02 + 1 / 255
    assert (stored[~raster.covered] == 0).all()


def test_depth_is_stored_linearly_between_far_and_near() -> None:
    points, triangles = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0]]), np.array([[0, 1, 2]])
    raster = rasterise(points, triangles, 4)
    depth = np.linspace(-2, 2, 16)
    stored = encode_depth(depth, raster, far=-1.0, near=1.0)
    assert stored.min() == 1
    assert stored.max() == 255
    assert stored.ravel()[7] == round(1 + 254 * (depth[7] + 1) / 2)
    assert (np.diff(stored.ravel().astype(int)) >= 0).all()


def test_normals_that_lean_away_are_turned_to_the_viewer() -> None:
    raster = rasterise(np.array([[0.0, 0, 0], [4, 0, 0], [0, 4, 0]]), np.array([[0, 1, 2]]), 1)
    stored = encode_normals(np.array([[3.0, 0.0, -4.0]]), raster)
    assert stored.ravel().tolist() == [255, 128, 128]
