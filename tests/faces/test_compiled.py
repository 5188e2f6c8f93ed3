"""The compiled loops against the same said in whole arrays, or by the library whose pixels they have to give."""

import numba
import numpy as np
import PIL
import pytest
from PIL import Image, ImageFilter
from scipy.ndimage import distance_transform_edt

from mimik.faces import alignment, compiled
from mimik.faces.masks import BAND, part_mask
from mimik.faces.mesh.rasterise import EDGE, Raster, encode_depth, encode_normals, interpolate, rasterise
from mimik.labels import IGNORED


def mesh(seed: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping triangles; half of the points lie on a grid, so that edges meet pixel centres and depths tie."""
    random = np.random.default_rng(seed)
    points = random.normal(0.5, 0.4, (40, 3)) * scale
    points[::2] = points[::2].round() + 0.5
    return points, random.integers(0, 40, (60, 3))


def in_whole_arrays(points: np.ndarray, triangles: np.ndarray, size: int, cull: bool) -> Raster:
    """Every triangle's weights in every pixel of the picture."""
    x, y, z = (points[:, axis][triangles] for axis in range(3))
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    seen = np.flatnonzero(area > 0 if cull else area != 0)
    x, y, z, area = x[seen], y[seen], z[seen], area[seen]
    ahead, behind = [1, 2, 0], [2, 0, 1]
    across, down = (y[:, ahead] - y[:, behind]) / area[:, None], (x[:, behind] - x[:, ahead]) / area[:, None]
    constant = -across * x[:, behind] - down * y[:, behind]
    centres = np.arange(size) + 0.5
    level = down[:, :, None] * centres + constant[:, :, None]  # (T, 3, rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = -level / across[:, :, None]
    start = np.where(across[:, :, None] > 0, zero, -np.inf).max(axis=1)
    end = np.where(across[:, :, None] < 0, zero, np.inf).min(axis=1)
    empty = ((across[:, :, None] == 0) & (level < -1e-9)).any(axis=1)
    rows = (centres >= (y.min(axis=1) - EDGE)[:, None]) & (centres <= (y.max(axis=1) + EDGE)[:, None]) & ~empty
    spans = (np.ceil(start - 0.5 - EDGE), np.floor(end - 0.5 + EDGE))
    column = np.arange(size)
    hit = rows[:, :, None] & (column >= spans[0][:, :, None]) & (column <= spans[1][:, :, None])
    weights = (across[:, :, None, None] * centres + (down[:, :, None] * centres)[..., None]) + constant[
        :, :, None, None
    ]
    depth = weights[:, 0] * z[:, 0, None, None] + weights[:, 1] * z[:, 1, None, None]
    depth = np.where(hit, depth + weights[:, 2] * z[:, 2, None, None], -np.inf)
    first = depth.argmax(axis=0)
    covered = hit.any(axis=0)
    shown = np.where(covered, seen[first], -1).astype(np.int32)
    row, column = np.nonzero(covered)
    return Raster(shown, weights[first[covered], :, row, column].astype(np.float32))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cull", [True, False])
def test_a_mesh_gives_the_same_pixels_and_weights(seed: int, cull: bool) -> None:
    size = (16, 33, 64)[seed % 3]
    points, triangles = mesh(seed, size)
    raster, expected = rasterise(points, triangles, size, cull=cull), in_whole_arrays(points, triangles, size, cull)
    assert raster.covered.mean() > 0.3
    assert np.array_equal(raster.triangle, expected.triangle)
    assert np.array_equal(raster.weights, expected.weights)

    values = np.random.default_rng(seed).normal(size=(40, 4)).astype(np.float32)
    corners = triangles[raster.triangle[raster.covered]]
    mixed = sum(raster.weights[:, k, None] * values[corners[:, k]] for k in (1, 2))
    found = interpolate(raster, triangles, values)
    assert np.allclose(found, raster.weights[:, 0, None] * values[corners[:, 0]] + mixed, atol=1e-5)

    depth = np.zeros((size, size), np.uint8)
    depth[raster.covered] = (1.0 + 254.0 * (found[:, 0] - -0.45) / (0.4 - -0.45)).round().clip(1, 255)
    assert np.array_equal(encode_depth(found[:, 0], raster, far=-0.45, near=0.4), depth)
    x, y, z = found[:, 1], found[:, 2], np.maximum(found[:, 3], np.float32(1e-6))
    scale = np.float32(127.5) / np.sqrt(x * x + y * y + z * z)
    normals = np.zeros((size, size, 3), np.uint8)
    normals[raster.covered] = (np.stack([x * scale, y * scale, z * scale], 1) + np.float32(127.5)).round()
    assert np.array_equal(encode_normals(found[:, 1:], raster), normals)


def test_corners_that_do_not_exist_are_refused() -> None:
    for corner in (-1, 3):
        with pytest.raises(ValueError, match="none of the 3 points"):
            rasterise(np.zeros((3, 3)), np.array([[0, 1, corner]]), 4)


@pytest.mark.parametrize("size", [16, 50, 100, 128])  # at 50 and 100 the band is a whole number of pixels
def test_the_band_around_a_mesh_is_that_of_the_exact_distance(size: int) -> None:
    random = np.random.default_rng(size)
    shown = np.where(random.random((size, size)) < 0.004, random.integers(0, 9, (size, size)), -1).astype(np.int32)
    classes, inside = random.integers(1, 19, 9).astype(np.uint8), random.random((size, size)) < 0.9
    expected = np.zeros((size, size), np.uint8)
    expected[distance_transform_edt(shown < 0) <= BAND * size] = IGNORED
    expected[shown >= 0] = classes[shown[shown >= 0]]
    expected[~inside] = IGNORED
    assert np.array_equal(part_mask(Raster(shown, np.empty((0, 3), np.float32)), classes, inside), expected)
    nothing = Raster(np.full_like(shown, -1), np.empty((0, 3), np.float32))
    assert np.array_equal(part_mask(nothing, classes, inside), np.where(inside, 0, IGNORED))


def picture(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise, or black and white, whose sums leave the range of bytes."""
    noise = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return noise if random.random() < 0.5 else (noise >> 7) * np.uint8(255)


def test_pictures_are_turned_like_pillow_does() -> None:
    random = np.random.default_rng(0)
    for _ in range(40):
        height, width, size = random.integers(1, 60, 3)
        source = picture(random, height, width)
        matrix = random.normal(size=6) * (1, 0.3, 20, 0.3, 1, 20)
        if random.random() < 0.3:
            matrix = (2 * matrix).round() / 2
        turned = Image.fromarray(source).transform(
            (size, size), Image.Transform.AFFINE, tuple(matrix), Image.Resampling.BICUBIC
        )
        assert np.array_equal(compiled.affine(compiled.packed(source), matrix, size), np.asarray(turned))


@pytest.mark.skipif(int(PIL.__version__.partition(".")[0]) < 13, reason="Pillow had another order of the two steps")
def test_pictures_are_shrunk_like_pillow_does() -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        height, width = random.integers(1, 150, 2)
        source = picture(random, height, width)
        across, down = random.integers(1, width + 1), random.integers(1, height + 1)
        shrunk = alignment._shrunk(compiled.packed(source), down, across).view(np.uint8).reshape(down, across, 4)
        expected = np.asarray(Image.fromarray(source).resize((across, down), Image.Resampling.BICUBIC))
        assert np.array_equal(shrunk[..., :3], expected)


def test_where_nothing_can_be_kept_loops_are_compiled_by_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = numba.njit, []

    def njit(*arguments: object, cache: bool = False, **keywords: object) -> object:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*arguments, **keywords)

    monkeypatch.setattr(numba, "njit", njit)
    double = compiled._compiled(numba.int64)(lambda number: 2 * number)
    assert double(4) == 8 and asked == [True, False]


@pytest.mark.parametrize("size", [16, 17, 64, 100])
def test_pictures_fade_into_pillows_blur(size: int) -> None:
    random = np.random.default_rng(size)
    shown = picture(random, size, size)
    distance = (random.random((size, size)) * 0.1).astype(np.float32) * (random.random((size, size)) < 0.5)
    opacity = Image.fromarray((distance * (255 / alignment.FADE)).clip(0, 255).astype(np.uint8))
    whole = Image.fromarray(shown)
    blurred = whole.filter(ImageFilter.GaussianBlur(alignment.BLUR * size))
    faded = compiled.fade(shown, distance, 255 / alignment.FADE, *alignment._box_means(alignment.BLUR * size))
    assert np.array_equal(faded, np.asarray(Image.composite(blurred, whole, opacity)))


def test_the_window_of_a_crop_goes_on_beyond_the_photograph() -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        height, width = random.integers(1, 40, 2)
        image = picture(random, height, width)
        to_crop = np.column_stack([np.eye(2), random.uniform(-60, 60, 2)])
        window, (left, top) = alignment._window(image, to_crop, 16)
        rows = np.arange(top, top + len(window)).clip(0, height - 1)
        columns = np.arange(left, left + window.shape[1]).clip(0, width - 1)
        assert window.shape[:2] >= (24, 24)
        assert np.array_equal(window, image[rows[:, None], columns])
