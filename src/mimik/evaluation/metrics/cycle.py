"""Cycle consistency: every translation edited back to its source class, against the source image.

PSNR and SSIM of tables 1 and 2 of Bodur et al. 2021 (depth guidance); docs/papers/metrics.md#cycle-reconstruction.
"""

import numpy as np
import torch

from mimik.evaluation.measurements import Array, Entry, Measurements, flat, unit_tensor
from mimik.evaluation.places import Missing
from mimik.statistics.image_similarity import l1, psnr, ssim

NAMES = ("cycle_l1", "cycle_psnr", "cycle_ssim")
PROTOCOL = (
    "Each translation, rounded to uint8 and edited back to its source class, against the source; target = source "
    "excluded."
)
HIGHER_IS_BETTER = {"cycle_l1": False, "cycle_psnr": True, "cycle_ssim": True}
UNIT = {"cycle_l1": "", "cycle_psnr": "dB", "cycle_ssim": ""}
FORMAT = {"cycle_l1": "{:.4f}", "cycle_psnr": "{:.2f}", "cycle_ssim": "{:.3f}"}


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The three entries of metrics.json, on images in [0, 1]."""
    cycle = measurements.cycle
    if isinstance(cycle, Missing):
        return dict.fromkeys(NAMES, cycle.entry)
    values = measurements.per_image("cycle", lambda part: similarities(measurements.sources[part], cycle[part]))
    return {
        name: measurements.mean_entry(values[..., index], measurements.other, None, PROTOCOL)
        for index, name in enumerate(NAMES)
    }


def similarities(sources: Array, pictures: Array) -> Array:
    """L1, PSNR (dB), SSIM of every picture to its source.

    Args:
        sources: uint8 (b, S, S, 3).
        pictures: uint8 (b, C, S, S, 3).

    Returns:
        float32 (b, C, 3).
    """
    copies = np.broadcast_to(sources[:, None], pictures.shape)
    first, second = unit_tensor(flat(copies)), unit_tensor(flat(pictures))
    measures = [measure(first, second) for measure in (l1, psnr, ssim)]
    result: Array = torch.stack(measures, -1).reshape(*pictures.shape[:2], len(measures)).numpy()
    return result
