"""Depth that comes with a dataset (`reconstruction: released`), aligned like its face, checked against the mesh."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.datasets.listing import UnusableError
from mimik.faces.alignment import crop_labels

Array = npt.NDArray[Any]

FIT = 0.5
"""Least correlation of a map with the mesh's depth, over the part of the face that both know."""

SHARED = 0.4
"""Least share of the mesh's pixels that the map must know."""


def released_depth(
    given: npt.NDArray[np.uint8] | None,
    shape: tuple[int, ...],
    transform: Array,
    mesh_depth: Mapping[int, npt.NDArray[np.uint8]],
    sizes: Iterable[int],
) -> dict[int, npt.NDArray[np.uint8]]:
    """A dataset's own depth of a photograph at every size; each pixel takes the value at its centre.

    A map of another crop, or with near parts dark, would train a network on nonsense without any error. So every map
    must agree with the mesh roughly.

    Args:
        given: uint8 (h, w), 0 no surface, brighter is nearer, which covers the photograph at any resolution; None for
            a face without a map, whose depth is no surface everywhere.
        shape: (H, W, 3) of the photograph.
        transform: (2, 3), pixels of the photograph -> fractions of the crop's side.
        mesh_depth: size -> depth of the mesh, encoded like `mimik.faces.prepared.store`.
        sizes: sides of the crops, pixels.

    Returns:
        size -> uint8 (size, size).

    Raises:
        UnusableError: its proportions are not the photograph's, or it does not fit the face.
    """
    if given is None:
        return {size: np.zeros((size, size), np.uint8) for size in sizes}
    (height, width), (tall, wide) = given.shape, shape[:2]
    if abs(height * wide - width * tall) > 0.01 * height * wide:
        raise UnusableError(
            f"depth map of {width} x {height} px, photograph of {wide} x {tall}: the proportions differ"
        )
    made = {size: crop_labels(given, shape, transform, size, 0) for size in sizes}
    largest = max(made)
    check_fit(made[largest], mesh_depth[largest])
    return made


def check_fit(depth: npt.NDArray[np.uint8], mesh: npt.NDArray[np.uint8]) -> None:
    """Refuse depth that cannot be of this face.

    Args:
        depth: uint8 (size, size), 0 no surface, brighter is nearer.
        mesh: the mesh's depth of the same crop.

    Raises:
        UnusableError: less than `SHARED` of the mesh is known, or the correlation with it is below `FIT`.
    """
    both = (depth > 0) & (mesh > 0)
    shared = both.sum() / max(1, (mesh > 0).sum())
    if shared < SHARED:
        raise UnusableError(f"the depth map covers {shared:.0%} of the face, at least {SHARED:.0%} required")
    values = np.stack([depth[both], mesh[both]]).astype(np.float64)
    fit = float(np.corrcoef(values)[0, 1]) if np.ptp(values, axis=1).min() > 0 else 0.0
    if fit < FIT:
        raise UnusableError(
            f"the depth map does not fit the face: its correlation with the mesh is {fit:+.2f}, at least {FIT} "
            "required; it may be of another crop, or show near parts dark"
        )
