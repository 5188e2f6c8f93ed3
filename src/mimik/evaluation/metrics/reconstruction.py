"""Self reconstruction: an image edited to the expression that it already shows should stay unchanged.

L1, PSNR and SSIM of docs/papers/metrics.md#self-reconstruction (the reconstruction of relative_au's table 3, with
labels).
"""

import numpy as np

from mimik.evaluation.measurements import Array, Entry, Measurements
from mimik.evaluation.metrics.cycle import similarities
from mimik.evaluation.places import Missing

NAMES = ("l1", "psnr", "ssim")
NEEDS_EXPRESSIONS = True
PROTOCOL = "Translation to the source's own class against the source."
HIGHER_IS_BETTER = {"l1": False, "psnr": True, "ssim": True}
UNIT = {"l1": "", "psnr": "dB", "ssim": ""}
FORMAT = {"l1": "{:.4f}", "psnr": "{:.2f}", "ssim": "{:.3f}"}


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The three entries of metrics.json, on images in [0, 1].

    Skipped for a method that returns every face unchanged, as CycleGAN does, which has no generator for this.
    """
    labels = measurements.labels

    def own(part: slice) -> Array:
        rows = np.arange(len(labels))[part]
        return similarities(measurements.sources[part], measurements.translations[rows, labels[part]][:, None])

    values = measurements.per_image("reconstruction", own)
    if not values[..., NAMES.index("l1")].any():
        reason = "this method returns a face unchanged if the target is its own expression."
        return {name: Missing(reason, applies=False).entry for name in NAMES}
    keep = np.ones(values.shape[:2], dtype=np.bool_)
    return {name: measurements.mean_entry(values[..., index], keep, None, PROTOCOL) for index, name in enumerate(NAMES)}
