"""Similarity transforms by hand, and crops of pictures that are known in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter, minimum_filter

from mimik.faces import alignment
from mimik.faces.alignment import (
    TEMPLATE,
    apply,
    crop,
    crop_labels,
    inverse,
    outside_source,
    resize,
    scale_of,
    similarity,
)


def matrix(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
    angle = np.radians(degrees)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, x], [sin, cos, y]])


@settings(deadline=None, max_examples=50)
@given(st.floats(0.01, 20), st.floats(-180, 180), st.floats(-500, 500), st.floats(-500, 500), st.integers(0, 2**31))
def test_recovers_any_similarity_and_its_inverse(scale: float, degrees: float, x: float, y: float, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(5, 2)) * 10
    known = matrix(scale, degrees, x, y)
    found = similarity(points, apply(known, points))
    assert np.allclose(found, known, atol=1e-7 * max(1, abs(x), abs(y), scale))
    assert np.allclose(apply(inverse(found), apply(found, points)), points, atol=1e-6)
    assert scale_of(found) == pytest.approx(scale)


def test_is_the_least_squares_optimum() -> None:
    random = np.random.default_rng(3)
    source, target = random.normal(size=(5, 2)), random.normal(size=(5, 2))
    best = similarity(source, target)
    error = ((apply(best, source) - target) ** 2).sum()
    # Similarities are linear in (a, b, x, y): an independent solution by ordinary least squares.
    rows = [[p[0], -p[1], 1, 0] for p in source] + [[p[1], p[0], 0, 1] for p in source]
    a, b, x, y = np.linalg.lstsq(np.array(rows), target.T.ravel(), rcond=None)[0]
    assert np.allclose(best, [[a, -b, x], [b, a, y]])
    assert error < ((apply(matrix(1, 0, 0, 0), source) - target) ** 2).sum()


def test_never_reflects() -> None:
    points = np.array(TEMPLATE)
    found = similarity(points * (-1, 1), points)
    assert np.linalg.det(found[:, :2]) > 0


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_refuses_points_that_determine_nothing(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="determine"):
        similarity(points, np.array(TEMPLATE))


def test_template_is_symmetric_and_aligned_faces_stay_as_they_are() -> None:
    template = np.array(TEMPLATE)
    assert np.allclose(template[0::3][:, 0] + template[[1, 4]][:, 0], 1)
    landmarks = np.zeros((68, 2))
    landmarks[36:42], landmarks[42:48] = template[0], template[1]
    landmarks[30], landmarks[48], landmarks[54] = template[2:]
    assert np.allclose(alignment.alignment(landmarks * 200), [[1 / 200, 0, 0], [0, 1 / 200, 0]])


def spot(size: int, x: float, y: float, sigma: float) -> np.ndarray:
    centres = np.arange(size) + 0.5
    bell = np.exp(-((centres[None] - x) ** 2 + (centres[:, None] - y) ** 2) / (2 * sigma**2))
    return np.repeat((255 * bell).round().astype(np.uint8)[..., None], 3, axis=2)


def centroid(image: np.ndarray) -> np.ndarray:
    weight = image[..., 0].astype(float)
    centres = np.arange(len(image)) + 0.5
    return np.array([(weight.sum(0) * centres).sum(), (weight.sum(1) * centres).sum()]) / weight.sum()


@pytest.mark.parametrize("degrees", [0, 7, -31, 90])
@pytest.mark.parametrize("scale", [0.11, 0.37, 0.83, 1.0, 2.9])
def test_a_spot_lands_where_the_transform_says(scale: float, degrees: float) -> None:
    image = spot(400, 211.3, 187.9, 4 / scale)
    size = 128
    to_fraction = matrix(scale, degrees, 0, 0)
    to_fraction[:, 2] = (60.2, 66.7) - apply(to_fraction, np.array([211.3, 187.9]))
    found = crop(image, to_fraction / size, size)
    assert np.abs(centroid(found) - (60.2, 66.7)).max() < 0.15


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((600, 600, 3), np.uint8)
    stripes[:, ::2] = 255  # far finer than the crop's pixels: only its mean, 127.5, may remain
    found = crop(stripes, np.array([[1 / 600, 0, 0], [0, 1 / 600, 0]]), 64)
    inner = found[4:-4, 4:-4].astype(float)  # at the border the outermost column is drawn out
    assert np.abs(inner - 127.5).max() <= 2


def test_whole_image_at_its_own_size_is_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(crop(image, np.array([[1 / 64, 0, 0], [0, 1 / 64, 0]]), 64), image)


def test_outside_of_the_photograph_is_measured_and_faded() -> None:
    image = np.full((100, 100, 3), 80, np.uint8)
    image[:, :10] = 200
    transform = np.array([[1 / 200, 0, 0.5], [0, 1 / 200, 0.25]])  # the photograph fills x > 0.5, 0.25 < y < 0.75
    outside = outside_source(transform, image.shape, 200)
    assert np.array_equal(outside == 0, np.pad(np.ones((100, 100), bool), ((50, 50), (100, 0))))
    assert outside[100, 0] == pytest.approx(0.5 - 0.5 / 200, abs=1e-6)
    found = crop(image, transform, 200)
    assert np.array_equal(found[50:150, 105:], np.asarray(image)[:, 5:])
    assert (found[100, :80] >= 190).all()  # the left edge goes on; nothing black or mirrored


def test_smaller_sizes_are_means_of_areas() -> None:
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    means = image.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize(image, 16) - means).max() <= 1


def test_labels_are_cut_out_like_the_picture_and_never_blended() -> None:
    random = np.random.default_rng(5)
    labels = np.kron(random.integers(0, 19, (8, 8)), np.ones((32, 32), int)).astype(np.uint8)  # 256 x 256
    picture = np.repeat(labels[..., None] * 13, 3, axis=2)
    for degrees in (0.0, 90.0, 33.0):
        transform = matrix(1 / 180, degrees, *(0.5 - matrix(1 / 180, degrees, 0, 0)[:, :2] @ (128, 128)))
        cut = crop_labels(labels, picture.shape, transform, 96, 255)
        inside = outside_source(transform, picture.shape, 96) == 0
        assert np.array_equal(cut == 255, ~inside)
        assert set(np.unique(cut[inside])) <= set(range(19))
        close = np.abs(crop(picture, transform, 96)[..., 0].astype(int) - cut.astype(int) * 13) < 7
        # All but the borders of the blocks, which the picture blends.
        plain = (maximum_filter(cut, 7) == minimum_filter(cut, 7)) & inside
        assert plain.mean() > 0.2 and close[plain].all()
        # The same at half the labels' resolution: what is annotated smaller lies at the same place.
        half = crop_labels(labels[::2, ::2], picture.shape, transform, 96, 255)
        assert np.array_equal(half, cut)
