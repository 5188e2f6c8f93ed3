"""Fréchet distance on Inception features of images that were resized without aliasing, under a name of its own.

Parmar et al., "On aliased resizing and surprising subtleties in GAN evaluation", CVPR 2022: the resizing before
Inception decides the value. Theirs is Pillow's bicubic filter, each channel as float32, without rounding in between.
`fid` has the rule of Inception's own graph. Protocol: docs/papers/metrics.md#fid.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mimik.evaluation.extractors import open_inception
from mimik.evaluation.measurements import Entry, Measurements
from mimik.evaluation.metrics.fid import distance_entry
from mimik.evaluation.places import Extractor, Missing
from mimik.networks.inception import SIDE

NAMES = ("fid_antialiased",)
PROTOCOL = (
    "Fréchet distance on 2048-d Inception pool3 features: all real test images against all translations to all "
    "targets, resized to 299 px by Pillow's bicubic filter in float32 (clean-fid's rule), covariances with N - 1."
)
NEEDS = "inception"
HIGHER_IS_BETTER = {"fid_antialiased": False}
UNIT = {"fid_antialiased": ""}
FORMAT = {"fid_antialiased": "{:.2f}"}


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entry of metrics.json, with the number of real images `n_real`."""
    inception = measurements.opened(open_inception)
    if isinstance(inception, Missing):
        return {"fid_antialiased": inception.entry}

    def outputs(images: Tensor) -> dict[str, Tensor]:
        # Of the network's own resizing nothing is left at its own size.
        return {"features": inception.outputs(antialiased(images, SIDE))["features"]}

    extractor = Extractor(f"{inception.name} antialiased", inception.sha256, outputs)
    fake = measurements.of_translations(extractor)["features"]
    return {"fid_antialiased": distance_entry(measurements, extractor, fake, PROTOCOL)}


def antialiased(images: Tensor, side: int) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] -> (B, 3, side, side), by Pillow's bicubic filter, cut off at the range's ends."""
    grey = ((images.float() + 1) * 127.5).cpu().numpy()
    resized = [
        [np.asarray(Image.fromarray(channel).resize((side, side), Image.Resampling.BICUBIC)) for channel in image]
        for image in grey
    ]
    return torch.from_numpy(np.stack([np.stack(image) for image in resized]).clip(0, 255)).to(images) / 127.5 - 1
