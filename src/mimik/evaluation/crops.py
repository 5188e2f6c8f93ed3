"""Faces cut out for recognition networks: the input and its edits in one frame, by the landmarks of the input.

Nothing is found again in an edit, so nothing can fail to be found, and a face that an edit moves is not moved back.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.evaluation.measurements import Array, Measurements
from mimik.evaluation.places import Extractor
from mimik.training.batches import to_tensor

Template = Sequence[Sequence[float]]


def crop_matrices(points: Array, size: int, template: Template, side: int) -> npt.NDArray[np.float64]:
    """Where each pixel of an aligned crop lies in the image, for `torch.nn.functional.affine_grid`.

    The least-squares similarity from the template to the points has a closed form in complex numbers:
    w = a z + b with a = sum(conj(z - mean z) (w - mean w)) / sum(|z - mean z|^2).

    Args:
        points: (N, K, 2) in pixels of the image, x then y.
        size: side of the image.
        template: K points in pixels of the crop, x then y.
        side: side of the crop.

    Returns:
        (N, 2, 3): crop coordinates in [-1, 1] to image coordinates in [-1, 1] (align_corners False).
    """
    places = np.array(template)
    # Both in units where the image, or the crop, spans [-1, 1]: landmarks count from the image's corner.
    z = (places[:, 0] + 1j * places[:, 1]) * 2 / side - (1 + 1j)
    w = (points[..., 0] + 1j * points[..., 1]) * 2 / size - (1 + 1j)
    centred = z - z.mean()
    centre = w.mean(-1)
    a = (centred.conj() * (w - centre[:, None])).sum(-1) / np.square(np.abs(centred)).sum()
    b = centre - a * z.mean()
    return np.stack([np.stack([a.real, -a.imag, b.real], -1), np.stack([a.imag, a.real, b.imag], -1)], 1)


def cut(images: Tensor, matrices: Array, side: int) -> Tensor:
    """Aligned crops: images (B, 3, S, S) and `crop_matrices` (B, 2, 3) -> (B, 3, side, side), bilinear.

    Beyond the image its edge is drawn out.
    """
    theta = torch.from_numpy(matrices).float()
    grid = F.affine_grid(theta, [len(images), 3, side, side], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def identity_distances(
    measurements: Measurements,
    extractor: Extractor,
    points: Array,
    template: Template,
    side: int,
    distance: Callable[[Array, Array], Array],
) -> Array:
    """Distances between the extractor's `features` of each input and of its translations.

    Args:
        measurements: N inputs with C translations each.
        extractor: takes crops (B, 3, side, side).
        points: (N, K, 2) landmarks of the inputs that `template` places, in pixels.
        template, side: see `crop_matrices`.
        distance: vectors (n, 1, D) and (n, C, D) -> (n, C).

    Returns:
        (N, C).
    """
    matrices = crop_matrices(points, measurements.size, template, side)

    def distances(part: slice) -> Array:
        sources, translations = measurements.sources[part], measurements.translations[part]
        together = np.concatenate([sources[:, None], translations], 1)
        number, pictures = together.shape[:2]
        images = to_tensor(together.reshape(-1, *together.shape[2:]))
        with torch.inference_mode():
            crops = cut(images, matrices[part].repeat(pictures, 0), side)
            vectors = extractor.outputs(crops)["features"].float().cpu().numpy().reshape(number, pictures, -1)
        return distance(vectors[:, :1], vectors[:, 1:])

    return measurements.per_image("identity", distances)
