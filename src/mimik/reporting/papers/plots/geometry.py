"""What is known of the shape of test faces: landmarks beside depth and normal maps, as prepared."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.faces.masks import colour
from mimik.reporting.mosaics import Cell, Mosaic, Picture, Strip, enlargement_note
from mimik.reporting.papers.item import Item
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.shown import choose_rows

CAPTION = (
    "{count} test faces of {dataset} as prepared: {columns}. The 68 landmarks are one pixel each; of depth, bright is "
    "near; of normals, the colours are the directions. {pixels}."
)

DOT = (255, 80, 40)
"""Colour of landmarks."""


def draw(item: Item) -> Drawing | Absent:
    """Rows are faces, columns the input and what is known of it."""
    first = item.results[0]
    store = first.store
    rows = choose_rows([first], min(item.settings.rows, 5), item.settings.seed, item.settings.ids)
    kinds: dict[str, Any] = {}
    if store.landmarks is not None:
        landmarks = store.landmarks
        kinds["landmarks"] = lambda row: dotted(np.asarray(store.images[row]), landmarks[row])
    if store.depth is not None:
        depth = store.depth
        kinds["depth"] = lambda row: np.repeat(np.asarray(depth[row])[..., None], 3, axis=-1)
    if store.normals is not None:
        normals = store.normals
        kinds["normals"] = lambda row: np.asarray(normals[row])
    if store.masks is not None:
        masks = store.masks
        kinds["masks"] = lambda row: colour(np.asarray(masks[row]))
    if not kinds:
        return Absent(f"{first.dataset} was prepared without landmarks, depth, normals and masks")
    mosaic = Mosaic(["input", *kinds], first.size, title=f"Geometry of faces of {first.dataset}")
    for row in rows:
        cells = [Cell(np.asarray(store.images[row])), *(Cell(kind(row)) for kind in kinds.values())]
        mosaic.strips.append(Strip(cells))
    svg, width = mosaic.svg()
    facts = {
        "count": len(rows),
        "dataset": first.dataset,
        "columns": ", ".join(kinds),
        "pixels": enlargement_note(first.size).capitalize(),
    }
    return Drawing(svg, width, facts)


def dotted(image: Picture, landmarks: npt.NDArray[np.float32]) -> Picture:
    """A copy of a face uint8 (S, S, 3), dimmed, with the pixels at its landmarks (68, 2; column, row) coloured."""
    picture: Picture = (image * 0.6).astype(np.uint8)
    columns, rows = np.clip(np.round(landmarks).astype(np.int64), 0, len(image) - 1).T
    picture[rows, columns] = DOT
    return picture
