"""Part masks: what is known, and what is not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.datasets.listing import UnusableError
from mimik.faces.masks import BAND, annotated_masks, colour, part_mask, write_palette_png
from mimik.faces.mesh.rasterise import rasterise
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


def test_a_dataset_s_mask_is_cut_out_at_every_size_and_must_fit_its_photograph() -> None:
    mask = np.zeros((50, 40), np.uint8)  # a quarter of the photograph's resolution
    mask[10:20, :] = 13
    whole = np.array([[1 / 200, 0, 0], [0, 1 / 200, 0]])  # the crop is the square of 200 px; the photograph 160 wide
    cut = annotated_masks(mask, (200, 160, 3), whole, [100, 20])
    assert {size: array.shape for size, array in cut.items()} == {100: (100, 100), 20: (20, 20)}
    for size, array in cut.items():
        assert (array[size // 5 : 2 * size // 5, : 4 * size // 5] == 13).all()
        assert (array[:, 4 * size // 5 :] == IGNORED).all()
        assert (array == 13).sum() == size // 5 * (4 * size // 5)
    with pytest.raises(UnusableError, match="40 x 50 px, photograph of 200 x 160"):
        annotated_masks(mask, (160, 200, 3), whole, [20])
    for wrong in (mask.astype(np.int64), mask[None], mask + np.uint8(19)):
        with pytest.raises(ValueError, match="a dataset's mask is"):
            annotated_masks(wrong, (200, 160, 3), whole, [20])


def test_a_palette_png_holds_the_classes_and_shows_their_colours(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 18], [4, 5, IGNORED]], np.uint8)
    write_palette_png(tmp_path / "mask.png", mask)
    with Image.open(tmp_path / "mask.png") as opened:
        assert opened.mode == "P" and np.array_equal(np.asarray(opened), mask)
        assert np.array_equal(np.asarray(opened.convert("RGB")), colour(mask))
