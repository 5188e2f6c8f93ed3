"""The segmenter before and after end-to-end training, on test faces."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mimik.faces.masks import colour
from mimik.labels import IGNORED, PALETTE, SEGMENTATION_CLASSES
from mimik.reporting.mosaics import Cell, Mosaic, Picture, Strip, enlargement_note
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings, Result

TITLE = "Masks before and after end-to-end training"
CAPTION = (
    "Masks that the segmenter of {method} predicts for {count} test faces{of}: as pre-trained, and after joint "
    "training with the generator. {reference}Last row: pixels whose class changed, in the colour of their new class; "
    "the rest is dimmed. {pixels}."
)
PAGES = frozenset({"method"})


def changed(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8], image: Picture) -> Picture:
    """uint8 (S, S, 3): the new class where it differs from the old one, elsewhere the face, dimmed and grey."""
    grey = image.astype(np.float64).mean(axis=-1, keepdims=True) * 0.4 + 40
    ground = np.broadcast_to(grey, image.shape).astype(np.uint8)
    picture: Picture = np.where((before != after)[..., None], colour(after), ground)
    return picture


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """Columns are test faces (`mask_rows` of the translations' manifest), rows the input and its masks.

    The faces are of the dataset that the segmenter was trained on.
    """
    result = results[0]
    kept = result.optional("masks.npy")
    if kept is None or not kept.shape[1]:
        return Absent(f"no masks from before and after training were stored for {result.method}")
    before, after = kept
    rows = [int(row) for row in result.manifest.get("mask_rows", ())][: settings.rows]
    store = result.masked
    masks = store.masks
    mosaic = Mosaic([""] * len(rows), store.size, separated=(), title=f"Masks of the segmenter of {result.method}")
    images = [np.asarray(store.images[row]) for row in rows]
    mosaic.strips.append(Strip([Cell(image) for image in images], "input"))
    known = masks is not None and any((masks[row] != IGNORED).any() for row in rows)
    if masks is not None and known:
        mosaic.strips.append(Strip([Cell(colour(masks[row])) for row in rows], "reference"))
    pairs = [(np.asarray(before[k]), np.asarray(after[k])) for k in range(len(rows))]
    mosaic.strips.append(Strip([Cell(colour(old)) for old, _ in pairs], "before", emphasised=True))
    mosaic.strips.append(Strip([Cell(colour(new)) for _, new in pairs], "after", emphasised=True))
    mosaic.strips.append(
        Strip([Cell(changed(old, new, image)) for (old, new), image in zip(pairs, images, strict=True)], "changed")
    )
    shown = sorted({int(value) for old, new in pairs for value in np.union1d(old, new)} & set(range(len(PALETTE))))
    mosaic.legend = [(SEGMENTATION_CLASSES[index], PALETTE[index]) for index in shown]
    svg, width = mosaic.svg()
    facts = {
        "method": result.method,
        "count": len(rows),
        "reference": "'reference' is the mask of the prepared dataset. " if known else "",
        "of": "" if store is result.store else f" of {store.name}, on which it was pre-trained",
        "pixels": enlargement_note(store.size).capitalize(),
    }
    return Drawing(svg, width, facts)
