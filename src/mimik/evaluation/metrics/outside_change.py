"""How much a translation changes where it should not: outside eyes, brows, nose and mouth.

Protocol: docs/papers/metrics.md#change-outside-the-parts. No paper reports it.

Skin near the parts moves with an expression too, so on datasets with ground truth the same measure is also taken of the
true target (`outside_change_truth`); the table by region separates background from skin.
"""

from collections.abc import Mapping

import numpy as np

from mimik.evaluation.measurements import Array, Entry, Measurements, Rows
from mimik.evaluation.places import Missing
from mimik.labels import PARTS, SEGMENTATION_CLASSES

NAMES = ("outside_change", "outside_change_truth")
PROTOCOL = (
    "Mean |{subject} - input| on [0, 1] over the pixels that do not belong to eyes, brows, nose or mouth in the "
    "input's mask; target = source excluded."
)
HIGHER_IS_BETTER = {"outside_change": False, "outside_change_truth": None}
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.4f}")

_NAMED = {**PARTS, "skin": ("skin",), "hair": ("hair",), "background": ("background",)}
REGIONS: Mapping[str, tuple[str, ...]] = {
    **{name: tuple(classes) for name, classes in _NAMED.items()},
    "other": tuple(name for name in SEGMENTATION_CLASSES if not any(name in classes for classes in _NAMED.values())),
}
"""Regions of the table as sets of segmentation classes; pixels of unknown class form one more, `unknown`."""


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entries of metrics.json, with `per_region`; skipped for datasets without masks."""
    store = measurements.store
    if store.masks is None:
        reason = f"{store.directory} has no masks at {store.size} px; prepare the dataset with a mesh or with masks."
        return dict.fromkeys(NAMES, measurements.lacking("masks", reason).entry)
    entries = {"outside_change": _entry(measurements, "translation", measurements.translations)}
    truth = measurements.truth
    entries["outside_change_truth"] = (
        truth.entry if isinstance(truth, Missing) else _entry(measurements, "true target", truth)
    )
    return entries


def _entry(measurements: Measurements, subject: str, pictures: Array | Rows) -> Entry:
    masks = measurements.store.masks
    assert masks is not None
    totals = measurements.per_image(
        f"change of the {subject}",
        lambda part: region_changes(
            measurements.sources[part], pictures[part], np.asarray(masks[measurements.rows[part]])
        ),
    )
    sums, counts = totals[..., 0], totals[..., 1]
    keep = measurements.other
    values = outside_of_parts(totals)
    with np.errstate(invalid="ignore"):
        by_region = sums / counts
    per_region = {
        name: float(region[keep & np.isfinite(region)].mean())
        for name, region in zip([*REGIONS, "unknown"], np.moveaxis(by_region, -1, 0), strict=True)
        if (keep & np.isfinite(region)).any()
    }
    return measurements.mean_entry(
        values, keep & np.isfinite(values), None, PROTOCOL.format(subject=subject), per_region=per_region
    )


def outside_of_parts(totals: Array) -> Array:
    """Mean change outside of the parts, (...), of `region_changes` (..., regions, 2); NaN where no pixel lies there."""
    outside = [index for index, name in enumerate([*REGIONS, "unknown"]) if name not in PARTS]
    sums, counts = totals[..., outside, :].sum(-2)[..., 0], totals[..., outside, :].sum(-2)[..., 1]
    with np.errstate(invalid="ignore"):
        mean: Array = sums / counts
    return mean


def region_changes(sources: Array, pictures: Array, masks: Array) -> Array:
    """Summed change and number of pixels of every region.

    Args:
        sources: uint8 (b, S, S, 3).
        pictures: uint8 (b, C, S, S, 3).
        masks: uint8 (b, S, S) segmentation classes of the sources.

    Returns:
        float32 (b, C, regions, 2): the sum over the region's pixels of |picture - source| in [0, 1] (mean over the
        colour channels), and the number of those pixels; regions in the order of `REGIONS`, then `unknown`.
    """
    lookup = np.full(256, len(REGIONS))
    for index, classes in enumerate(REGIONS.values()):
        lookup[[SEGMENTATION_CLASSES.index(name) for name in classes]] = index
    inside = lookup[masks][..., None] == np.arange(len(REGIONS) + 1)
    inside = inside.reshape(len(masks), -1, inside.shape[-1]).astype(np.float32)
    source = sources[:, None].astype(np.float32)
    change = np.abs(pictures.astype(np.float32) - source).mean(-1) / 255
    sums = change.reshape(*pictures.shape[:2], -1) @ inside
    counts = np.broadcast_to(inside.sum(1)[:, None], sums.shape)
    result: Array = np.stack([sums, counts], -1)
    return result
