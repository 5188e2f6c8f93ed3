"""The parts of faces that local networks see: rectangles of fixed size, and what the face parser cuts out."""

import numpy as np
import numpy.typing as npt
import torch

from mimik.components.face_parts import hard_part_masks, tight_boxes, without_specks
from mimik.labels import PARTS
from mimik.methods.hier_seg import RECTANGLES
from mimik.reporting.mosaics import Cell, Mosaic, Picture, Strip, enlargement_note
from mimik.reporting.papers.item import Item
from mimik.reporting.plotting import Absent, Drawing

CAPTION = (
    "{count} test faces{of} and their parts, as the parser of {method} finds them after training. Rectangles: of the "
    "sizes of hier_rect, around the centres of the parts. Parser: only the pixels of eyes with brows, nose and mouth. "
    "{pixels}."
)


def draw(item: Item) -> Drawing | Absent:
    """Columns are faces; rows the input, the rectangles and the parser's parts."""
    result = item.results[0]
    kept = result.optional("masks.npy")
    if kept is None or not kept.shape[1]:
        return Absent(f"no masks were stored for {result.method}")
    store, names = result.masked, tuple(PARTS)
    rows = [int(row) for row in result.manifest.get("mask_rows", ())][: item.settings.rows]
    parts = hard_part_masks(torch.from_numpy(np.asarray(kept[1][: len(rows)]).astype(np.int64)), names)
    # As the method does before it looks for boxes.
    parts = without_specks(parts, result.config["config"]["least_share"])
    boxes = tight_boxes(parts).numpy()
    there = parts.any(3).any(2).numpy()
    images = [np.asarray(store.images[row]) for row in rows]
    mosaic = Mosaic([""] * len(rows), store.size, separated=(), title=f"Parts of faces of {store.name}")
    strips: dict[str, list[Picture]] = {"input": images, "rectangles": [], "parser": []}
    for face, image in enumerate(images):
        inside = np.zeros(image.shape[:2], bool)
        for part, name in enumerate(names):
            if there[face, part]:
                left, top, right, bottom = boxes[face, part]
                width, height = (side * store.size for side in RECTANGLES[name][2:])
                x, y = (left + right - width) / 2, (top + bottom - height) / 2
                inside[_span(y, height, store.size), _span(x, width, store.size)] = True
        strips["rectangles"].append(_lit(image, inside))
        strips["parser"].append(_lit(image, parts[face].any(0).numpy()))
    for label, pictures in strips.items():
        mosaic.strips.append(Strip([Cell(picture) for picture in pictures], label, emphasised=label != "input"))
    svg, width = mosaic.svg()
    facts = {
        "count": len(rows),
        "of": "" if store.name == result.dataset else f" of {store.name}, on which the parser was trained,",
        "method": result.method,
        "pixels": enlargement_note(store.size).capitalize(),
    }
    return Drawing(svg, width, facts)


def _span(start: float, length: float, size: int) -> slice:
    """Pixels from `start`, `length` of them, as far as they are in the picture."""
    return slice(max(0, round(start)), min(size, round(start + length)))


def _lit(image: Picture, inside: npt.NDArray[np.bool_]) -> Picture:
    """The face where `inside` (S, S), elsewhere dimmed and grey."""
    grey = image.astype(np.float64).mean(axis=-1, keepdims=True) * 0.25 + 30
    picture: Picture = np.where(inside[..., None], image, np.broadcast_to(grey, image.shape)).astype(np.uint8)
    return picture
