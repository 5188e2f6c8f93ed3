"""Distance of translations to the true target image, if the dataset has it, and that of the copied input.

Protocol: docs/papers/metrics.md#distance-to-the-true-edit. No paper reports it.

`changed`: the pixels where the true target differs from the input by more than 8/255 in any channel, so that a large
unchanged background cannot hide what happens where the expression is.
"""

import numpy as np
import torch

from mimik.evaluation.measurements import Array, Entry, Measurements, flat, unit_tensor
from mimik.evaluation.places import Missing
from mimik.statistics import image_similarity

NAMES = (
    "truth_psnr",
    "truth_ssim",
    "truth_psnr_changed",
    "copy_truth_psnr",
    "copy_truth_ssim",
    "copy_truth_psnr_changed",
)
PROTOCOL = "against the true target image (same person, pose and light); target = source excluded."
HIGHER_IS_BETTER = dict.fromkeys(NAMES, True)
UNIT = {name: "" if name.endswith("ssim") else "dB" for name in NAMES}
FORMAT = {name: "{:.3f}" if name.endswith("ssim") else "{:.2f}" for name in NAMES}

CHANGE = 8
"""Grey levels above which a pixel counts as changed by the true edit."""


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The six entries of metrics.json; skipped for datasets without ground truth."""
    truth = measurements.truth
    if isinstance(truth, Missing):
        return dict.fromkeys(NAMES, truth.entry)
    values = measurements.per_image(
        "truth", lambda part: distances(measurements.sources[part], measurements.translations[part], truth[part])
    )
    entries = {}
    for index, name in enumerate(NAMES):
        subject = "Input image" if name.startswith("copy") else "Translation"
        where = ""
        keep = measurements.other
        if name.endswith("changed"):
            where = f"over the pixels that the true edit changes by more than {CHANGE}/255 in any channel, "
            keep = keep & np.isfinite(values[..., index])
        protocol = f"{subject} {where}{PROTOCOL}"
        entries[name] = measurements.mean_entry(values[..., index], keep, None, protocol)
    return entries


def distances(sources: Array, translations: Array, truths: Array) -> Array:
    """The measures in the order of `NAMES` for every pair; NaN for `changed` where the truth changes no pixel.

    Args:
        sources: uint8 (b, S, S, 3).
        translations, truths: uint8 (b, C, S, S, 3).

    Returns:
        float32 (b, C, 6).
    """
    batch, classes = truths.shape[:2]
    copies = np.broadcast_to(sources[:, None], truths.shape)
    changed = torch.from_numpy(changed_pixels(copies, truths)).flatten(0, 1)
    truth = unit_tensor(flat(truths))
    measures = []
    for pictures in (translations, copies):
        picture = unit_tensor(flat(pictures))
        measures += [
            image_similarity.psnr(picture, truth),
            image_similarity.ssim(picture, truth),
            image_similarity.psnr_where(picture, truth, changed),
        ]
    result: Array = torch.stack(measures, -1).reshape(batch, classes, len(NAMES)).numpy()
    return result


def changed_pixels(sources: Array, truths: Array) -> Array:
    """bool (..., S, S): where two uint8 images (..., S, S, 3) differ by more than `CHANGE` in any channel."""
    # max - min instead of a difference: uint8 would wrap around.
    difference = np.maximum(sources, truths) - np.minimum(sources, truths)
    changed: Array = (difference > CHANGE).any(-1)
    return changed
