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
    (0.350, 0.390),
    (0.650, 0.390),
    (0.500, 0.565),
    (0.376, 0.716),
    (0.624, 0.716),
)
"""Where the eye centres, the tip of the nose and the mouth corners go, in fractions of the crop's side.

Image-left before image-right. The proportions are the medians of 172 photographed faces (64 % of the crop's
width and 77 % of its height is face, from the forehead's upper edge to the chin); the eyes sit at 39 % of the
height, so that the chin of a mouth opened wide still lies inside.
"""

EYE_DISTANCE = 0.300
"""Distance of the eye centres in the template."""


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


def inverse(transform: npt.NDArray[Any]) -> Points:
    """(2, 3) matrix that undoes a (2, 3) matrix."""
    matrix = np.asarray(transform, np.float64)
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def scale_of(transform: npt.NDArray[Any]) -> float:
    """Factor by which a similarity transform scales lengths."""
    return float(math.sqrt(abs(np.linalg.det(np.asarray(transform, np.float64)[:, :2]))))


def crop(image: npt.NDArray[np.uint8], transform: npt.NDArray[Any], size: int) -> npt.NDArray[np.uint8]:
    """Cut the aligned face out of a photograph.

    Shrinking is done by area first (an antialiased resize to the crop's scale), then the rest, a rotation and
    shift at scale one, bicubically: no aliasing at any scale. Beyond the photograph's border its mirror image
    stands, which keeps edges and noise natural.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        transform: (2, 3), source pixels -> fractions of the crop's side.
        size: side of the crop, pixels.

    Returns:
        uint8 (size, size, 3) or (size, size).
    """
    to_crop = np.asarray(transform, np.float64) * size
    window, shift = _window(image, to_crop, size)
    to_crop = to_crop @ np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]])
    picture = Image.fromarray(window)
    scale = scale_of(to_crop)
    if scale < 1:
        width, height = (max(1, math.ceil(length * scale)) for length in picture.size)
        stretch = np.diag([picture.width / width, picture.height / height, 1.0])
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        to_crop = to_crop @ stretch
    back = inverse(to_crop)
    picture = picture.transform((size, size), Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def resize(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Shrink a square crop to `size` pixels by area; each new pixel is the mean of the area that it covers."""
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))


def inside_source(transform: npt.NDArray[Any], shape: tuple[int, ...], size: int) -> npt.NDArray[np.bool_]:
    """bool (size, size): crop pixels that show the photograph of `shape` (H, W, ...) rather than its mirror image."""
    centres = (np.arange(size) + 0.5) / size
    grid = np.stack(np.meshgrid(centres, centres), axis=-1)
    source = apply(inverse(transform), grid)
    inside: npt.NDArray[np.bool_] = ((source >= 0) & (source <= (shape[1], shape[0]))).all(axis=-1)
    return inside


MARGIN = 4.0
"""Crop pixels around the crop that its interpolation may look at."""


def _window(image: npt.NDArray[np.uint8], to_crop: Points, size: int) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """The part of the photograph that the crop shows, mirrored at the borders, and its upper left corner."""
    reach = np.array([[-MARGIN, -MARGIN], [size + MARGIN, -MARGIN], [-MARGIN, size + MARGIN], [size + MARGIN] * 2])
    corners = apply(inverse(to_crop), reach)
    left, top = (int(value) for value in np.floor(corners.min(axis=0)))
    right, bottom = (int(value) for value in np.ceil(corners.max(axis=0)))
    rows = _mirrored(np.arange(top, bottom), image.shape[0])
    columns = _mirrored(np.arange(left, right), image.shape[1])
    return np.ascontiguousarray(image[rows[:, None], columns]), (left, top)


def _mirrored(positions: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    """Positions folded back into 0 ... length - 1 at the borders (the border pixel is repeated once)."""
    folded = positions % (2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)
