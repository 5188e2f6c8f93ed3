"""Rendered faces once more, with other action units: the truth of edits that no stored true target shows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.faces.prepared.store import FaceStore
from mimik.settings.outside import named_in_file

Array = npt.NDArray[Any]


def can_render(store: FaceStore) -> bool:
    """Whether the faces of a store were rendered, so that any of them can be once more."""
    return store.truth is not None and store.manifest.get("source") == "rendered"


def with_units(store: FaceStore, rows: npt.NDArray[np.int64], units: Array) -> Array | None:
    """Faces of a store as they would look with other action units: same people, poses, light and noise.

    Args:
        store: the prepared dataset.
        rows: of its table, (B,).
        units: intensities in [0, 1], (B, 17), in the order of `labels.ACTION_UNITS`.

    Returns:
        uint8 (B, S, S, 3) at the store's size; None where the faces are not rendered, so that nobody knows.
    """
    if not can_render(store):
        return None
    where = f"{store.directory / 'manifest.json'}: importer"
    module = named_in_file("datasets", store.manifest["importer"]["module"], where)
    table = module.with_action_units(store.table.iloc[rows].reset_index(drop=True), units)
    images: Array = module.render(table, store.size, ("images",)).images
    return luminance(images) if store.manifest["options"].get("grey", False) else images


def luminance(images: Array) -> Array:
    """Luminance of uint8 (..., 3) in all three channels."""
    grey = np.rint(images @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
