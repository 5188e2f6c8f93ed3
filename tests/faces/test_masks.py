"""Part masks: what is known, and what is not."""

import numpy as np

from mimik.faces.masks import BAND, colour, part_mask
from mimik.faces.rasterise import rasterise
from mimik.labels import IGNORED, PALETTE


def test_parts_band_background_and_what_lies_outside_the_photograph() -> None:
    size = 100
    points = np.array([[30.0, 30, 0], [70, 30, 0], [70, 70, 0], [30, 70, 0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    raster = rasterise(points, triangles, size)
    inside = np.ones((size, size), bool)
    inside[:, 90:] = False
    mask = part_mask(raster, np.array([2, 12], np.uint8), inside)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    surface = (x >= 30) & (x < 70) & (y >= 30) & (y < 70)
    assert (mask[surface & (x > y)] == 2).all()
    assert (mask[surface & (x < y)] == 12).all()
    # Distance from a pixel to the nearest pixel of the square, by hand.
    distance = np.hypot(np.maximum.reduce([30 - x, x - 69, 0 * x]), np.maximum.reduce([30 - y, y - 69, 0 * y]))
    assert (mask[~surface & (distance <= BAND * size)] == IGNORED).all()
    assert (mask[(distance > BAND * size) & inside] == 0).all()
    assert (mask[~inside] == IGNORED).all()


def test_without_a_visible_mesh_nothing_is_labelled_as_face() -> None:
    raster = rasterise(np.zeros((3, 3)), np.array([[0, 1, 2]]), 8)
    assert (part_mask(raster, np.array([1], np.uint8), np.ones((8, 8), bool)) == 0).all()


def test_unknown_pixels_have_a_colour_of_their_own() -> None:
    coloured = colour(np.array([[0, 18, IGNORED]], np.uint8))
    assert coloured[0, 0].tolist() == list(PALETTE[0])
    assert coloured[0, 1].tolist() == list(PALETTE[18])
    assert tuple(coloured[0, 2]) not in PALETTE
