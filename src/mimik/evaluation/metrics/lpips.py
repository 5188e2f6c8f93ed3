"""LPIPS: distance of two pictures as people see it, of self reconstructions and, where it is known, of the true edit.

Zhang et al., CVPR 2018, with AlexNet. No paper of the five prints it. Protocol: docs/papers/metrics.md#lpips.
"""

import numpy as np
import torch

from mimik.evaluation.extractors import open_lpips
from mimik.evaluation.measurements import Array, Entry, Measurements, Rows
from mimik.evaluation.places import Extractor, Missing
from mimik.networks.lpips import SMALLEST
from mimik.training.batches import to_tensor

NAMES = ("lpips", "truth_lpips", "copy_truth_lpips")
PROTOCOL = "LPIPS 0.1 with AlexNet's features at the pictures' own size: {what}."
WHAT = {
    "lpips": "translations to the source's own class against the source",
    "truth_lpips": "translations against the true target image; target = source excluded",
    "copy_truth_lpips": "input images against the true target image; target = source excluded",
}
NEEDS = "lpips"
HIGHER_IS_BETTER = dict.fromkeys(NAMES, False)
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.3f}")


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The three entries of metrics.json."""
    network = measurements.opened(open_lpips)
    if isinstance(network, Missing):
        return dict.fromkeys(NAMES, network.entry)
    if measurements.size < SMALLEST:
        reason = f"LPIPS needs pictures of at least {SMALLEST} px, not {measurements.size}."
        return dict.fromkeys(NAMES, Missing(reason).entry)

    truth = measurements.truth
    own = measurements.labels >= 0
    found: dict[str, Entry] = {}
    if own.any():

        def reconstructed(part: slice) -> Array:
            rows = np.arange(len(own))[part]
            made = measurements.translations[rows, measurements.labels[part].clip(min=0)]
            return distances(network, measurements.sources[part][:, None], made[:, None])

        values = measurements.per_image("lpips", reconstructed)
        found["lpips"] = measurements.mean_entry(values, own[:, None], network, PROTOCOL.format(what=WHAT["lpips"]))
    else:
        found["lpips"] = Missing("no target is the source where attributes are reversed.", applies=False).entry
    for name in NAMES[1:]:
        if isinstance(truth, Missing):
            found[name] = truth.entry
            continue

        def true(part: slice, name: str = name, truth: Rows = truth) -> Array:
            copied = np.broadcast_to(measurements.sources[part][:, None], truth[part].shape)
            return distances(network, measurements.translations[part] if name == "truth_lpips" else copied, truth[part])

        values = measurements.per_image(name, true)
        found[name] = measurements.mean_entry(values, measurements.other, network, PROTOCOL.format(what=WHAT[name]))
    return found


def distances(network: Extractor, first: Array, second: Array) -> Array:
    """LPIPS of pictures uint8 (b, C, S, S, 3) twice -> float32 (b, C)."""
    pair = torch.stack([to_tensor(np.array(x).reshape(-1, *x.shape[2:])) for x in (first, second)], 1)
    with torch.inference_mode():
        values: Array = network.outputs(pair)["distance"].float().cpu().numpy()
    return values.reshape(first.shape[:2])
