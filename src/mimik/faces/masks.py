"""Part masks from the face mesh, in the 19 classes of `mimik.labels`.

What the mesh knows: eyes (the openings), brows, nose, both lips, inner mouth; all else of its surface is skin.
What it does not know: hair over the forehead, glasses, a hand before the face (they are labelled as what they
hide), and everything beyond its outline, where hair, ears, neck, clothes and background lie. There

- a band of `BAND` around the outline is `IGNORED`: the outline is a smooth guess at where a face ends;
- beyond the band pixels are `background`, which in a mask from the mesh means "no part of the face". It lets a
  segmenter learn where no part is; without it the network could place a mouth in the hair unpunished;
- what the crop shows beyond the photograph's border (mirrored pixels) is `IGNORED`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.faces.rasterise import Raster
from mimik.labels import IGNORED

BAND = 0.06
"""Width of the unknown band around the mesh's outline, in crop sides."""


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
    from scipy.ndimage import distance_transform_edt

    covered = raster.covered
    mask = np.zeros(covered.shape, np.uint8)
    if covered.any():
        mask[distance_transform_edt(~covered) <= BAND * len(mask)] = IGNORED
        mask[covered] = classes[raster.triangle[covered]]
    mask[~inside_source] = IGNORED
    return mask


def colour(mask: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A mask (..., H, W) in display colours (..., H, W, 3); unknown pixels are magenta."""
    from mimik.labels import PALETTE

    table = np.full((256, 3), (200, 0, 200), np.uint8)
    table[: len(PALETTE)] = PALETTE
    coloured: npt.NDArray[np.uint8] = table[np.asarray(mask)]
    return coloured
