"""Identity loss: is the person still the same? One minus the cosine of two identity vectors.

Bodur et al. (hier_seg), table 1, with ArcFace features of photographs; docs/papers/metrics.md#identity-loss.
ArcFace was not trained on rendered faces, so on datasets with ground truth the project's reader network replaces it;
it was trained to read the renderer's own identity parameters, standardised over the training identities.
"""

import numpy as np
import numpy.typing as npt

from mimik.evaluation.crops import identity_distances
from mimik.evaluation.extractors import open_arcface
from mimik.evaluation.measurements import Array, Entry, Measurements
from mimik.evaluation.places import Missing
from mimik.networks.arcface import SIDE, TEMPLATE

NAMES = ("identity_loss", "identity_loss_truth")
PROTOCOL = "1 - cosine of the identity vectors of the inputs and the {subject}, {vectors}; target = source excluded."
NEEDS = "arcface"
HIGHER_IS_BETTER = {"identity_loss": False, "identity_loss_truth": None}
UNIT = dict.fromkeys(NAMES, "")
FORMAT = dict.fromkeys(NAMES, "{:.3f}")

READ = "standardised identity parameters of the renderer as read by the reader network"
EMBEDDED = "ArcFace embeddings of both images cropped to 112 px by the input's landmarks"


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The two entries of metrics.json; `identity_loss_truth` is the score of the true target image itself."""
    if isinstance(measurements.truth, Missing):
        return {
            "identity_loss": _by_arcface(measurements),
            "identity_loss_truth": measurements.truth.entry,
        }
    reader = measurements.reader
    if isinstance(reader, Missing):
        return dict.fromkeys(NAMES, reader.entry)
    sources = measurements.of_sources(reader)["identity"][:, None]
    seen = measurements.with_baselines(reader, "identity")
    return {
        f"identity_loss{ending}": measurements.mean_entry(
            cosine_distance(sources, vectors),
            measurements.other,
            reader,
            PROTOCOL.format(subject=subject, vectors=READ),
        )
        for ending, (subject, vectors) in seen.items()
        if ending != "_copy" and not isinstance(vectors, Missing)
    }


def cosine_distance(first: Array, second: Array) -> npt.NDArray[np.float64]:
    """1 - cos of vectors (..., D), broadcast -> (...), in [0, 2]."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    cosine: npt.NDArray[np.float64] = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    return 1 - cosine


def five_points(landmarks: Array) -> npt.NDArray[np.float64]:
    """The five points of ArcFace's template out of 68 landmarks: (N, 68, 2) -> (N, 5, 2).

    Centres of the two eyes (landmarks 36-41 and 42-47), nose tip (30), mouth corners (48, 54).
    """
    points = landmarks.astype(np.float64)
    eyes = [points[:, 36:42].mean(1), points[:, 42:48].mean(1)]
    return np.stack([*eyes, points[:, 30], points[:, 48], points[:, 54]], 1)


def _by_arcface(measurements: Measurements) -> Entry:
    arcface, store = measurements.opened(open_arcface), measurements.store
    if isinstance(arcface, Missing):
        return arcface.entry
    if store.landmarks is None:
        reason = f"{store.directory} has no landmarks, which the aligned crops need; prepare it with landmarks."
        return measurements.lacking("landmarks", reason).entry
    points = five_points(store.landmarks[measurements.rows])
    values = identity_distances(measurements, arcface, points, TEMPLATE, SIDE, cosine_distance)
    return measurements.mean_entry(
        values, measurements.other, arcface, PROTOCOL.format(subject="translations", vectors=EMBEDDED)
    )
