"""Part masks from the face mesh, in the 19 classes of `mimik.labels`.

What the mesh knows: eyes (the openings), brows, nose, both lips, inner mouth; all else of its surface is skin.
What it does not know: hair over the forehead, glasses, a hand before the face (they are labelled as what they
hide), and everything beyond its outline, where hair, ears, neck, clothes and background lie. There

- a band of `BAND` around the outline is `IGNORED`: the outline is a smooth guess at where a face ends;
- beyond the band pixels are `background`, which in a mask from the mesh means "no part of the face". It lets a
  segmenter learn where no part is; without it the network could place a mouth in the hair unpunished;
- what the crop shows beyond the photograph's border (mirrored pixels) is `IGNORED`.

Masks that come with a dataset (`masks: annotation`) are cut out of its annotation by `annotated_masks` instead:
`background` is then all that is no part, and only what lies beyond the photograph's border is `IGNORED`.

Masks by a segmenter that was trained on another dataset (`masks: segmenter`) come from a `MaskPredictor`; beyond the
photograph's border they are `IGNORED` too.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mimik.datasets.listing import UnusableError
from mimik.faces.alignment import crop_labels, outside_source
from mimik.faces.mesh.rasterise import Raster
from mimik.labels import IGNORED, PALETTE, SEGMENTATION_CLASSES
from mimik.storage.files import atomic_path

UNKNOWN = (200, 200, 200)
"""Display colour of pixels whose class is not known."""

BAND = 0.06
"""Width of the unknown band around the mesh's outline, in crop sides."""


class MaskPredictor(Protocol):
    """What makes the masks of aligned faces for `masks: segmenter`; picklable, as workers call it."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What it is, JSON-able: it stands in the manifest, and other masks are made when it changes."""

    @property
    def modules(self) -> Sequence[str]:
        """Modules of mimik that decide what it does."""

    def __call__(self, images: Mapping[int, npt.NDArray[np.uint8]]) -> Mapping[int, npt.NDArray[np.uint8]]:
        """size -> uint8 (N, size, size, 3) of the same faces; size -> uint8 (N, size, size) of their classes."""


def border_masks(
    shape: tuple[int, ...], transform: npt.NDArray[Any], sizes: Iterable[int]
) -> dict[int, npt.NDArray[np.uint8]]:
    """Masks that know nothing but where the photograph ends: `IGNORED` beyond its border, else `background`.

    Args:
        shape: (H, W, 3) of the photograph.
        transform: (2, 3), pixels of the photograph -> fractions of the crop's side.
        sizes: sides of the crops, pixels.

    Returns:
        size -> uint8 (size, size).
    """
    return {size: np.where(outside_source(transform, shape, size) == 0, 0, IGNORED).astype(np.uint8) for size in sizes}


def part_mask(
    raster: Raster, classes: npt.NDArray[np.uint8], inside_source: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Mask of a rasterised mesh.

    Args:
        raster: the mesh seen in the crop, (S, S).
        classes: (T,) class of each triangle, `Topology.classes`.
        inside_source: bool (S, S), where the crop shows the photograph.

    Returns:
        uint8 (S, S): a class of `SEGMENTATION_CLASSES`, or `IGNORED`.
    """
    from mimik.faces import compiled

    band = BAND * len(inside_source)
    # Squares of distances between pixels are whole numbers: the largest one in the band is compared instead of roots.
    reach = int(band * band) + 1
    while math.sqrt(reach) > band:
        reach -= 1
    mask: npt.NDArray[np.uint8] = compiled.part_mask(
        raster.triangle, classes, np.ascontiguousarray(inside_source), reach, IGNORED
    )
    return mask


def annotated_masks(
    mask: npt.NDArray[Any], shape: tuple[int, ...], transform: npt.NDArray[Any], sizes: Iterable[int]
) -> dict[int, npt.NDArray[np.uint8]]:
    """A dataset's own mask of a photograph, aligned like its face, at every size.

    Args:
        mask: uint8 (h, w) of `SEGMENTATION_CLASSES` or `IGNORED`, which covers the photograph at any resolution.
        shape: (H, W, 3) of the photograph.
        transform: (2, 3), pixels of the photograph -> fractions of the crop's side.
        sizes: sides of the crops, pixels.

    Returns:
        size -> uint8 (size, size).

    Raises:
        UnusableError: its proportions are not the photograph's.
        ValueError: it is no such array.
    """
    if mask.dtype != np.uint8 or mask.ndim != 2 or ((mask >= len(SEGMENTATION_CLASSES)) & (mask != IGNORED)).any():
        raise ValueError(f"a dataset's mask is {mask.dtype} {mask.shape} up to {mask.max(initial=0)}")
    (height, width), (tall, wide) = mask.shape, shape[:2]
    if abs(height * wide - width * tall) > 0.01 * height * wide:
        raise UnusableError(f"mask of {width} x {height} px, photograph of {wide} x {tall}: the proportions differ")
    return {size: crop_labels(mask, shape, transform, size, IGNORED) for size in sizes}


def colour(mask: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A mask (..., H, W) in display colours (..., H, W, 3); unknown pixels are grey."""
    coloured: npt.NDArray[np.uint8] = _colours()[np.asarray(mask)]
    return coloured


def write_palette_png(path: Path | str, mask: npt.NDArray[np.uint8]) -> None:
    """Write a mask uint8 (H, W) as a PNG whose pixels are the classes and whose palette shows them in colour."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(mask)).convert("P")
    picture.putpalette(_colours().tobytes())
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def _colours() -> npt.NDArray[np.uint8]:
    """Display colour (256, 3) of every value of a mask."""
    table = np.full((256, 3), UNKNOWN, np.uint8)
    table[: len(PALETTE)] = PALETTE
    return table
