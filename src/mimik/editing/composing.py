"""A face put back into its photograph: the edit was made at the model's size, the photograph is as large as it is.

What a generator did to the aligned face comes as a `Change`: where it moved the image, where it can say so
(`displacements` of a method, docs/architecture.md#contracts), and what it painted. The displacements move the
photograph's own pixels at their full size, so that what is only moved stays sharp. What was painted is enlarged
smoothly and added, so that the photograph's detail stays under it; only where much was painted (teeth between lips that
were closed) does what lay there before fade away. Four things are never taken from the generator:

- The grain. What is finest in the photograph and no stronger than its noise is set aside first and added at last,
  unmoved: an edit has the noise of the photograph around it.
- What lies outside of the face: changes fade to nothing beyond its outline, and before the border of the crop.
- Paint on what lies in front of the face, such as a fringe or the brim of a hat: outside of eyes, nose and mouth,
  where the photograph's colour is far from that of most of the face.
- Faint changes, as strong as those that the generator makes outside of the face, where nothing should change.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimik.faces import alignment

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

FEATHER = 0.12
"""Width over which changes set in behind the border of the aligned crop, in its sides."""

MOVED, PAINTED = (0.0, 0.08), (-0.02, 0.04)
"""Distances from the face's outline (outwards, in sides of the crop) from which on moves and paint fade, and at which
they are nothing. Moves reach farther: less bent, what surrounds the face shows nothing of them."""

UNLIKE, FEATURES = (3.0, 5.0), (0.06, 0.12)
"""Paint fades where the colour is that many robust standard deviations from the face's, and at that distance from the
hull of brows, eyes, nose and mouth, in sides of the crop."""

EVEN = 6.0
"""Least standard deviation of a face's colours, grey levels: an evenly lit face has freckles, too."""

DRAWN = 256
"""Side of the crop in which the soft mask of the face is drawn, pixels."""

FAINT = 6.0
"""Changes are never held to be faint from here on, grey levels."""

COVERED = (24.0, 72.0)
"""Painted changes in grey levels from which on, and at which, the photograph's own detail fades and is gone."""

GRAIN = 1.5
"""Standard deviation of the Gaussian that takes a photograph's grain away, pixels."""

NOISE = (2.5, 5.0)
"""Finest detail up to so many standard deviations of the noise is grain; from so many on it moves with the face."""


@dataclass(frozen=True)
class Found:
    """A face in a photograph.

    Attributes:
        transform: (2, 3) source pixel -> fraction of the crop's side.
        outline: (N, 2) points round it, source pixels.
        features: (M, 2) points of brows, eyes, nose and mouth, source pixels.
        units: float32 (17,) action units by `mimik.faces.action_units.geometric`, in [0, 1].
    """

    transform: Points
    outline: Points
    features: Points
    units: Floats

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the outline in source pixels; right and bottom are exclusive."""
        (left, top), (right, bottom) = np.floor(self.outline.min(axis=0)), np.ceil(self.outline.max(axis=0))
        return int(left), int(top), int(right), int(bottom)


@dataclass(frozen=True)
class Change:
    """What a generator did to one aligned face.

    Attributes:
        painted: float32 (S, S, 3) or (S, S, 1), grey levels that were added after the image had been moved; one channel
            changes the brightness alone.
        moves: float32 (S, S, 2), the displacement to the place where each pixel was taken from, to the right and down,
            in sides of the crop; None if nothing was moved.
    """

    painted: Floats
    moves: Floats | None = None


def put_back(photograph: Picture, crop: Picture, change: Change, face: Found) -> None:
    """Apply a change to a face of a photograph, in place.

    Args:
        photograph: uint8 (H, W, 3).
        crop: uint8 (S, S, 3), its aligned face in colour.
        change: what to apply.
        face: where it is.
    """
    import cv2  # comes with the face finder; faces that are already aligned are edited without it

    transform = face.transform
    away = _distances(transform, face.outline)
    mask = _faded(away, MOVED)
    painted = change.painted * _paintable(crop, away, _distances(transform, face.features))
    painted = _without_the_faint(painted, change.painted, mask)
    moves = change.moves if change.moves is not None and change.moves.any() else None
    if moves is None and not painted.any():
        return
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return
    low, high = np.array([columns.min(), rows.min()]) / DRAWN, np.array([columns.max() + 1, rows.max() + 1]) / DRAWN
    farthest = 0.0 if moves is None else float(np.abs(moves).max())
    window = _window(photograph, transform, low, high)
    if window is None:
        return
    around = _window(photograph, transform, low - farthest, high + farthest)
    assert around is not None  # it holds the window
    (left, top, right, bottom), (near, upper, far, lower) = window, around

    def enlarged(values: Floats, interpolation: int) -> Floats:
        """Values of the crop, (S, S, ...), at the window's pixels; nothing beyond the crop."""
        scale = values.shape[0]
        shift = transform[:, :2] @ (left + 0.5, top + 0.5) + transform[:, 2]
        # OpenCV counts from pixel centres, mimik from the image's corner.
        centred = np.column_stack([transform[:, :2] * scale, shift * scale - 0.5])
        size = (right - left, bottom - top)
        large = cv2.warpAffine(values, centred, size, flags=interpolation | cv2.WARP_INVERSE_MAP)
        return np.asarray(large, np.float32).reshape(*size[::-1], -1)

    opacity = enlarged(mask, cv2.INTER_LINEAR).clip(0, 1)
    source = photograph[upper:lower, near:far].astype(np.float32)
    inner = (slice(top - upper, bottom - upper), slice(left - near, right - near))
    grain = _grain(source, inner, opacity)
    source -= grain
    result = source[inner]
    if moves is not None:
        back = np.linalg.inv(transform[:, :2]).T.astype(np.float32)
        shift = enlarged(moves, cv2.INTER_CUBIC) * opacity @ back
        across = shift[..., 0] + np.arange(inner[1].start, inner[1].stop, dtype=np.float32)
        down = shift[..., 1] + np.arange(inner[0].start, inner[0].stop, dtype=np.float32)[:, None]
        moved = cv2.remap(source, across, down, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        result = np.asarray(moved, np.float32)
    added = enlarged(painted, cv2.INTER_CUBIC) * enlarged(_faded(away, PAINTED), cv2.INTER_LINEAR)
    covered = _smoothstep(np.abs(added).max(axis=-1, keepdims=True), *COVERED)
    if covered.any():
        # The generator saw nothing finer than its own pixels, and painted the rest.
        seen = 0.5 / (alignment.scale_of(transform) * len(painted))
        result = result - covered * (result - cv2.GaussianBlur(result, (0, 0), max(seen, 0.3)))
    result = result + added + grain[inner]
    target = photograph[top:bottom, left:right]
    np.copyto(target, result.round().clip(0, 255).astype(np.uint8), where=opacity > 0)


def _distances(transform: Points, points: Points) -> Floats:
    """(DRAWN, DRAWN) distance of each place of an aligned crop from the hull of points, in sides; negative inside."""
    import cv2

    hull = cv2.convexHull((alignment.apply(transform, points) * DRAWN - 0.5).round().astype(np.int32))
    shape = np.zeros((DRAWN, DRAWN), np.uint8)
    cv2.fillConvexPoly(shape, hull, (1,))
    if not shape.any():
        return np.ones((DRAWN, DRAWN), np.float32)
    outside, inside = (
        np.asarray(cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
        for part in (1 - shape, shape)
    )
    return (outside - inside) / DRAWN


def _faded(away: Floats, between: tuple[float, float]) -> Floats:
    """(DRAWN, DRAWN) share of a change that each place takes: 1 within, 0 beyond these distances and at the border."""
    low, high = between
    centres = (np.arange(DRAWN) + 0.5) / DRAWN
    # The outermost pixels are zero, so that interpolation across the border shows no edge.
    border = _half_cosine((np.minimum(centres, 1 - centres) - 1.5 / DRAWN) / FEATHER)
    mask: Floats = (_half_cosine((high - away) / (high - low)) * np.outer(border, border)).astype(np.float32)
    return mask


def _paintable(crop: Picture, away: Floats, from_features: Floats) -> Floats:
    """(S, S, 1) share of the paint that is kept: none on what lies in front of the face, see `UNLIKE`."""
    import cv2

    side = len(crop)
    # The median of a neighbourhood, so that a wrinkle or a strand is no object.
    colours = cv2.cvtColor(cv2.medianBlur(np.ascontiguousarray(crop), 3), cv2.COLOR_RGB2YCrCb).astype(np.float32)
    inside = cv2.resize(away, (side, side), interpolation=cv2.INTER_AREA) < 0
    if not inside.any():
        return np.zeros((side, side, 1), np.float32)
    usual = np.median(colours[inside], axis=0)
    spread = np.maximum(np.median(np.abs(colours[inside] - usual), axis=0) / 0.6745, EVEN)
    unlike = _smoothstep((np.abs(colours - usual) / spread).max(axis=-1), *UNLIKE)
    far = _smoothstep(
        np.asarray(cv2.resize(from_features, (side, side), interpolation=cv2.INTER_AREA), np.float32), *FEATURES
    )
    kept = cv2.GaussianBlur(1 - unlike * far, (0, 0), 0.7)
    return np.asarray(kept, np.float32)[..., None]


def _without_the_faint(painted: Floats, every: Floats, mask: Floats) -> Floats:
    """What was painted, without what is as faint as `every` paint outside of the face usually is."""
    import cv2

    side = len(painted)
    strength = np.abs(every).max(axis=-1)
    outside = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA) < 0.05
    usual = float(np.median(strength[outside])) if outside.any() else 0.0
    faint = min(1.5 * usual, FAINT)
    if not faint:
        return painted
    # Judged with the pixels around, so that a change does not fall apart where it passes through zero.
    felt = cv2.GaussianBlur(strength, (0, 0), 1.0)
    return painted * _smoothstep(felt, faint, 2 * faint)[..., None]


def _grain(source: Floats, inner: tuple[slice, slice], opacity: Floats) -> Floats:
    """The finest detail of a picture where it is as weak as its noise, of the same shape; stronger detail is left out.

    The noise is estimated in the face: the median of the finest detail is hardly changed by edges and hair.
    """
    import cv2

    finest: Floats = source - cv2.GaussianBlur(source, (0, 0), GRAIN)
    face = finest[inner][opacity[..., 0] > 0.5]
    if not face.size:
        return np.zeros_like(source)
    noise = np.maximum(np.median(np.abs(face), axis=0) / 0.6745, 1e-3)
    # Stronger detail is left out as a whole, or every moved edge would leave a trace where it was.
    finest *= 1 - _smoothstep(np.abs(finest) / noise, *NOISE)
    return finest


def _window(photograph: Picture, transform: Points, low: Points, high: Points) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of the pixels round a rectangle of the crop; None if it is outside of the picture."""
    height, width = photograph.shape[:2]
    rectangle = np.array([[low[0], low[1]], [high[0], low[1]], [low[0], high[1]], [high[0], high[1]]])
    corners = alignment.apply(alignment.inverse(transform), rectangle)
    left, top = np.floor(corners.min(axis=0)).astype(int).clip(min=0).tolist()
    right, bottom = np.ceil(corners.max(axis=0)).astype(int).clip(max=(width, height)).tolist()
    return None if left >= right or top >= bottom else (left, top, right, bottom)


def _half_cosine(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """0 up to 0, 1 from 1 on, half a cosine between."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * values.clip(0, 1)))


def _smoothstep(values: Floats, low: float, high: float) -> Floats:
    """0 up to `low`, 1 from `high` on, a smooth cubic between."""
    share = ((values - low) / (high - low)).clip(0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
