"""Alignment: one similarity transform per face brings five landmarks to one template; the inverse is kept.

Coordinates are continuous: (0, 0) is the upper left corner of the upper left pixel and its centre (0.5, 0.5).
Transforms go from source pixels to fractions of the crop's side, so one transform serves every crop size.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Points = npt.NDArray[np.float64]

TEMPLATE_NAME = "five-points-1"
"""Goes into every manifest and generator, so that crops of different templates are never mixed."""

TEMPLATE: Sequence[tuple[float, float]] = (
    (0.340, 0.375),
    (0.660, 0.375),
    (0.500, 0.562),
    (0.367, 0.723),
    (0.633, 0.723),
)
"""Where the eye centres, the tip of the nose and the mouth corners go, in fractions of the crop's side.

Image-left before image-right. The proportions are the medians of 172 photographed faces. Such a face fills 70 %
of the crop's width and 82 % of its height (upper edge of the forehead to chin); it sits high enough for the chin
of a mouth opened wide to lie inside.
"""


def five_points(landmarks: npt.NDArray[Any]) -> Points:
    """(5, 2) eye centres (mean of the six contour points), tip of the nose, mouth corners of (68, 2) landmarks."""
    points = np.asarray(landmarks, np.float64)
    return np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]])


def similarity(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> Points:
    """The similarity transform (rotation, one scale, shift; no reflection) nearest to taking `source` to `target`.

    Least squares by Umeyama (Least-Squares Estimation of Transformation Parameters Between Two Point Patterns,
    PAMI 1991, equations 40 to 42).

    Args:
        source, target: (N, 2) points, N >= 2.

    Returns:
        (2, 3) matrix A with target ~ A[:, :2] @ source + A[:, 2].

    Raises:
        ValueError: the source points coincide, or a coordinate is not finite.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - source_mean
    variance = (centred**2).sum() / len(source)
    if not (np.isfinite(source).all() and np.isfinite(target).all()) or variance < 1e-12:
        raise ValueError("the points do not determine a similarity transform")
    covariance = (target - target_mean).T @ centred / len(source)
    left, singular, right = np.linalg.svd(covariance)
    signs = np.array([1.0, 1.0 if np.linalg.det(left) * np.linalg.det(right) > 0 else -1.0])
    rotation = (left * signs) @ right
    scale = (singular * signs).sum() / variance
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ source_mean])


def alignment(landmarks: npt.NDArray[Any]) -> Points:
    """(2, 3) transform from source pixels to fractions of the crop's side for (68, 2) landmarks in source pixels."""
    return similarity(five_points(landmarks), np.array(TEMPLATE))


def apply(transform: npt.NDArray[Any], points: npt.NDArray[Any]) -> Points:
    """Transform points (..., 2) by a (2, 3) matrix."""
    matrix = np.asarray(transform, np.float64)
    moved: Points = np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return moved


def apply_solid(transform: npt.NDArray[Any], points: npt.NDArray[Any]) -> Points:
    """Transform points (N, 3) by a (2, 3) similarity: x and y like `apply`, z by its scale alone."""
    return np.column_stack([apply(transform, points[:, :2]), points[:, 2] * scale_of(transform)])


def inverse(transform: npt.NDArray[Any]) -> Points:
    """(2, 3) matrix that undoes a (2, 3) matrix."""
    matrix = np.asarray(transform, np.float64)
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def scale_of(transform: npt.NDArray[Any]) -> float:
    """Factor by which a similarity transform scales lengths."""
    return float(math.sqrt(abs(np.linalg.det(np.asarray(transform, np.float64)[:, :2]))))


def crop(
    image: npt.NDArray[np.uint8],
    transform: npt.NDArray[Any],
    size: int,
    outside: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.uint8]:
    """Cut the aligned face out of a photograph.

    Shrinking is done by area first (an antialiased resize to the crop's scale), then the rest, a rotation and
    shift at scale one, bicubically: no aliasing at any scale. Beyond the photograph's border its edge fades into
    a blur, which shows neither a hard frame nor a second, mirrored face.

    Args:
        image: uint8 (H, W, 3).
        transform: (2, 3), source pixels -> fractions of the crop's side.
        size: side of the crop, pixels.
        outside: what `outside_source` says of them, where it is known already.

    Returns:
        uint8 (size, size, 3).
    """
    from mimik.faces import compiled

    to_crop = np.asarray(transform, np.float64) * size
    window, corner = _window(image, to_crop, size)
    to_crop = _compose(to_crop, np.array([[1.0, 0.0, corner[0]], [0.0, 1.0, corner[1]]]))
    pixels = compiled.packed(window)
    height, width = pixels.shape
    scale = scale_of(to_crop)
    if scale < 1:
        pixels = _shrunk(pixels, *(max(1, math.ceil(length * scale)) for length in (height, width)))
        stretch = np.array([[width / pixels.shape[1], 0.0, 0.0], [0.0, height / pixels.shape[0], 0.0]])
        to_crop = _compose(to_crop, stretch)
    turned: npt.NDArray[np.uint8] = compiled.affine(pixels, inverse(to_crop).ravel(), size)
    if outside is None:
        outside = outside_source(transform, image.shape, size)
    if not outside.any():
        return turned
    faded: npt.NDArray[np.uint8] = compiled.fade(turned, outside, 255 / FADE, *_box_means(BLUR * size))
    return faded


def crops(
    image: npt.NDArray[np.uint8],
    transform: npt.NDArray[Any],
    sizes: Sequence[int],
    outside: npt.NDArray[np.float32] | None = None,
) -> dict[int, npt.NDArray[np.uint8]]:
    """The aligned face at every size: cut out at the largest, the smaller ones shrunk from it by area.

    Preparing a dataset and editing a photograph both call this, so that a generator is shown what it learned from.

    Args:
        image, transform: like `crop`.
        sizes: sides in pixels.
        outside: what `outside_source` says of the largest, where it is known already.

    Returns:
        size -> uint8 (size, size, 3).
    """
    largest = crop(image, transform, max(sizes), outside)
    return {size: largest if size == max(sizes) else resize(largest, size) for size in sizes}


def crop_labels(
    labels: npt.NDArray[np.uint8], shape: tuple[int, ...], transform: npt.NDArray[Any], size: int, outside: int
) -> npt.NDArray[np.uint8]:
    """Cut the aligned face out of a picture of labels: every pixel takes the label at its centre, none is blended.

    Args:
        labels: uint8 (h, w), covering the whole photograph at any resolution.
        shape: (H, W, ...) of the photograph.
        transform: (2, 3), pixels of the photograph -> fractions of the crop's side.
        size: side of the crop, pixels.
        outside: label beyond the photograph's border.

    Returns:
        uint8 (size, size).
    """
    centres = (np.arange(size) + 0.5) / size
    grid = np.stack(np.meshgrid(centres, centres), axis=-1)
    points = apply(inverse(transform), grid) / (shape[1], shape[0])
    columns = np.floor(points[..., 0] * labels.shape[1]).astype(np.int64).clip(0, labels.shape[1] - 1)
    rows = np.floor(points[..., 1] * labels.shape[0]).astype(np.int64).clip(0, labels.shape[0] - 1)
    return np.where(((points >= 0) & (points <= 1)).all(axis=-1), labels[rows, columns], np.uint8(outside))


def resize(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Shrink a square crop to `size` pixels by area; each new pixel is the mean of the area that it covers."""
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))


def outside_source(transform: npt.NDArray[Any], shape: tuple[int, ...], size: int) -> npt.NDArray[np.float32]:
    """How far each pixel of a crop lies outside the photograph.

    Args:
        transform: (2, 3), source pixels -> fractions of the crop's side.
        shape: (H, W, ...) of the photograph.
        size: side of the crop, pixels.

    Returns:
        float32 (size, size) distance from the photograph's border in crop sides (the larger of the distances
        along its two axes); 0 inside.
    """
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    back = inverse(transform).astype(np.float32)
    beyond = []
    for axis, length in ((0, shape[1]), (1, shape[0])):
        position = back[axis, 0] * centres[None, :] + (back[axis, 1] * centres + back[axis, 2])[:, None]
        beyond.append(np.maximum(-position, position - np.float32(length)))
    distance: npt.NDArray[np.float32] = np.maximum(np.maximum(*beyond), 0) * np.float32(scale_of(transform))
    return distance


BLUR = 0.04
"""Standard deviation of the blur beyond the photograph's border, in crop sides."""

FADE = 0.04
"""Distance from the border over which the blur sets in, in crop sides."""

MARGIN = 4.0
"""Crop pixels around the crop that its interpolation may look at."""


def _window(image: npt.NDArray[np.uint8], to_crop: Points, size: int) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """The part of the photograph that the crop shows, its edges drawn out beyond it, and its upper left corner."""
    low, high = -MARGIN, size + MARGIN
    corners = apply(inverse(to_crop), np.array([[low, low], [high, low], [low, high], [high, high]]))
    left, top = (int(value) for value in np.floor(corners.min(axis=0)))
    right, bottom = (int(value) for value in np.ceil(corners.max(axis=0)))
    known, beyond = [], []
    for start, stop, length in ((top, bottom, image.shape[0]), (left, right, image.shape[1])):
        first, last = min(max(start, 0), length - 1), min(max(stop - 1, 0), length - 1)
        before = max(0, min(first, stop - 1) - start)
        known.append(slice(first, last + 1))
        beyond.append((before, stop - start - before - (last + 1 - first)))
    window = image[known[0], known[1]]
    if any(map(any, beyond)):
        window = np.pad(window, [*beyond, (0, 0)], mode="edge")
    return np.ascontiguousarray(window), (left, top)


def _compose(outer: Points, inner: Points) -> Points:
    """(2, 3) matrix of `inner` followed by `outer`."""
    linear = outer[:, :2]
    return np.column_stack([linear @ inner[:, :2], linear @ inner[:, 2] + outer[:, 2]])


def _shrunk(pixels: npt.NDArray[np.uint32], height: int, width: int) -> npt.NDArray[np.uint32]:
    """A picture of `compiled.packed` shrunk like Pillow's `resize` with `BICUBIC`, which rounds between its two steps.

    It takes the rows first where they lose more than twice as many pixels as the columns.
    """
    from mimik.faces import compiled

    shrunk: npt.NDArray[np.uint32]
    if pixels.shape[0] - height > 2 * (pixels.shape[1] - width):
        rows_first = compiled.shrink_turned(np.ascontiguousarray(pixels.T), height)
        shrunk = np.ascontiguousarray(compiled.shrink_turned(rows_first, width).T)
    else:
        shrunk = compiled.shrink_turned(compiled.shrink_turned(pixels, width), height)
    return shrunk


def _box_means(deviation: float) -> tuple[int, int, int]:
    """Three means over boxes that together are nearly a Gaussian blur: `radius`, `share`, `rest` of `compiled.fade`.

    Boxes of fractional length after Gwosdek, Grewenig, Bruhn and Weickert, Theoretical Foundations of Gaussian
    Convolution by Extended Box Filtering (SSVM 2011), in 32 bits and rounded like Pillow's `GaussianBlur`.

    Args:
        deviation: standard deviation of the blur, pixels.
    """
    one, two, three, six = np.float32(1), np.float32(2), np.float32(3), np.float32(6)
    variance = np.float32(deviation) * np.float32(deviation) / three  # of one of the three
    length = np.float32(math.sqrt(12.0 * float(variance) + 1.0))
    whole = np.float32(math.floor((float(length) - 1.0) / 2.0))
    fraction = (two * whole + one) * (whole * (whole + one) - three * variance)
    fraction /= six * (variance - (whole + one) * (whole + one))
    radius = whole + fraction
    share = int(np.float32(1 << 24) / (radius * two + one))
    return int(radius), share, ((1 << 24) - (int(radius) * 2 + 1) * share) // 2
