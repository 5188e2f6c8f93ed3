"""ssFID: Fréchet distance on the features of a network that learned without labels, one for each target, then the mean.

Morozov et al., "On self-supervised image representations for GAN evaluation", ICLR 2021; Sun et al. (SeCGAN), table 1:
SwAV's ResNet-50, its 2048 average-pool features, images resized to 224 px. Protocol: docs/papers/metrics.md#ssfid.
"""

from mimik.evaluation.extractors import open_swav
from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.metrics.fid import distance_entry
from mimik.evaluation.places import Missing

NAMES = ("ssfid",)
PROTOCOL = (
    "Fréchet distance on 2048-d average-pool features of SwAV's ResNet-50, neither projected nor normalised: all real "
    "test images against the translations to one target, mean over the targets; resized to 224 px by Pillow's bilinear "
    "filter, ImageNet's mean and deviation, covariances with N - 1."
)
NEEDS = "swav"
HIGHER_IS_BETTER = {"ssfid": False}
UNIT = {"ssfid": ""}
FORMAT = {"ssfid": "{:.2f}"}


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entry of metrics.json, with the number of real images `n_real`."""
    swav = measurements.opened(open_swav)
    if isinstance(swav, Missing):
        return {"ssfid": swav.entry}
    fake = measurements.of_translations(swav)["features"]
    return {"ssfid": distance_entry(measurements, swav, fake, PROTOCOL, per_target=True)}
