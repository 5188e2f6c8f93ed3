"""Identity loss: is the person still the same? One minus the cosine of two identity vectors.

Bodur et al. (hier_seg), table 1, with ArcFace features of photographs; docs/papers/metrics.md#identity-loss.
ArcFace was not trained on rendered faces, so on datasets with ground truth the project's reader network replaces it;
it was trained to read the renderer's own identity parameters, standardised over the training identities.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from mimik.evaluation.measurements import Array, Entry, Extractor, Measurements, Missing
from mimik.networks.arcface import SIDE, TEMPLATE
from mimik.training.batches import to_tensor

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


def crop_matrices(points: Array, size: int) -> npt.NDArray[np.float64]:
    """Where each pixel of an aligned crop lies in the image, for `torch.nn.functional.affine_grid`.

    The least-squares similarity from the template to the points has a closed form in complex numbers:
    w = a z + b with a = sum(conj(z - mean z) (w - mean w)) / sum(|z - mean z|^2).

    Args:
        points: (N, 5, 2) in pixels of the image, x then y.
        size: side of the image.

    Returns:
        (N, 2, 3): crop coordinates in [-1, 1] to image coordinates in [-1, 1] (align_corners False).
    """
    template = np.array(TEMPLATE)
    # Both in units where the image, or the crop, spans [-1, 1]: landmarks count from the image's corner.
    z = (template[:, 0] + 1j * template[:, 1]) * 2 / SIDE - (1 + 1j)
    w = (points[..., 0] + 1j * points[..., 1]) * 2 / size - (1 + 1j)
    centred = z - z.mean()
    centre = w.mean(-1)
    a = (centred.conj() * (w - centre[:, None])).sum(-1) / np.square(np.abs(centred)).sum()
    b = centre - a * z.mean()
    return np.stack([np.stack([a.real, -a.imag, b.real], -1), np.stack([a.imag, a.real, b.imag], -1)], 1)


def _by_arcface(measurements: Measurements) -> Entry:
    arcface, store = measurements.arcface, measurements.store
    if isinstance(arcface, Missing):
        return arcface.entry
    if store.landmarks is None:
        reason = f"{store.directory} has no landmarks, which the aligned crops need; prepare it with landmarks."
        return measurements.lacking("landmarks", reason).entry
    matrices = crop_matrices(five_points(store.landmarks[measurements.rows]), measurements.size)
    values = measurements.per_image("identity", _distances(measurements, arcface, matrices))
    return measurements.mean_entry(
        values, measurements.other, arcface, PROTOCOL.format(subject="translations", vectors=EMBEDDED)
    )


def _distances(measurements: Measurements, arcface: Extractor, matrices: Array) -> Callable[[slice], Array]:
    def distances(part: slice) -> Array:
        sources, translations = measurements.sources[part], measurements.translations[part]
        together = np.concatenate([sources[:, None], translations], 1)
        number, pictures = together.shape[:2]
        images = to_tensor(together.reshape(-1, *together.shape[2:]))
        theta = torch.from_numpy(matrices[part]).float().repeat_interleave(pictures, 0)
        grid = F.affine_grid(theta, [len(images), 3, SIDE, SIDE], align_corners=False)
        with torch.inference_mode():
            crops = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
            vectors = arcface.outputs(crops)["features"].float().cpu().numpy().reshape(number, pictures, -1)
        return cosine_distance(vectors[:, :1], vectors[:, 1:])

    return distances
