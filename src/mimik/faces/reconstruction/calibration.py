"""How far the face mesh can be trusted: fitted and measured on rendered faces, whose truth is known.

Faces are rendered (`mimik.datasets.synthetic`), found and reconstructed like photographs, and compared with what was
rendered. `fit` makes the map of `mimik.faces.action_units.geometric`, `fit_lean` the constants of
`mimik.faces.reconstruction.tilt`; `compare` measures both, and depth and normals besides, on people that the fits have
not seen. benchmarks/face_mesh.py runs everything. Rendered faces are not photographs: the figures say how much of an
expression the mesh shows, not how well the map does on a camera's picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from mimik.datasets import synthetic
from mimik.datasets.listing import SPLITS
from mimik.faces import alignment
from mimik.faces.action_units.geometric import NAMES, Estimator, measures
from mimik.faces.mesh.mesher import FaceMesher
from mimik.faces.mesh.rasterise import interpolate, rasterise
from mimik.faces.mesh.topology import IBUG_68, topology
from mimik.faces.reconstruction import tilt
from mimik.faces.reconstruction.reconstruct import Face, Reconstructor, in_crop
from mimik.labels import ACTION_UNITS, SEGMENTATION_CLASSES

Array = npt.NDArray[np.float64]

SIZE = 256
"""Side of the rendered pictures, pixels."""

ACTIVE = 0.35
"""Probability of a unit to be active in a face of `independent`; it then has any intensity with equal probability."""

RESTING = 0.03
"""Standard deviation of the normal distribution whose absolute values the other units have."""

FACE_CLASSES: Sequence[str] = ("skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip")
"""Where depth and normals are compared: hair, glasses and neck are not part of the mesh."""

LEAN_PER_DEGREE: Sequence[float] = tuple(round(-0.001 * step, 3) for step in range(13))
LEAN_DOUBT: Sequence[float] = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0)
LEAN_OF_ALL: Sequence[float] = tuple(round(-0.08 + 0.01 * step, 2) for step in range(11))
"""What `fit_lean` tries."""

_CHUNK = 32

_COARSE = 64
"""Side of the crops on which `observe_lean` compares depths, pixels."""


def independent(split: str, people: int, seed: int) -> pd.DataFrame:
    """Rows of the synthetic index: two views of each person, every action unit drawn by itself.

    Args:
        split: train, val or test; nobody is in two of them, whatever the seed.
        people: how many.
        seed: of people, views and action units.
    """
    table = _people(split, people, seed, ["neutral", "happiness"])
    random = np.random.default_rng([seed, SPLITS.index(split), people])
    shape = (len(table), len(ACTION_UNITS))
    active = random.random(shape) < ACTIVE
    units = np.where(active, random.random(shape), np.abs(random.normal(0.0, RESTING, shape))).clip(0, 1)
    return synthetic.with_action_units(table, units)


def expressions(split: str, people: int, seed: int) -> pd.DataFrame:
    """Rows of the synthetic index as the dataset draws them: every person shows each of the eight expressions."""
    return _people(split, people, seed, [])


def _people(split: str, people: int, seed: int, classes: Sequence[str]) -> pd.DataFrame:
    counts = dict.fromkeys(SPLITS, 1) | {split: people}
    table = synthetic.index(Path(), {"classes": list(classes), "identities": counts}, seed).table
    return table[table["split"] == split].reset_index(drop=True)


def observe(rows: pd.DataFrame, progress: bool = False) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Measures of rendered faces.

    Returns:
        float64 (N, F) measures, NaN in the rows of faces that were not found; bool (N,) the rows that were.
    """
    measured = np.full((len(rows), len(NAMES)), np.nan)
    with FaceMesher() as mesher:
        for start in tqdm(range(0, len(rows), _CHUNK), desc="render and find", disable=not progress):
            images = synthetic.render(rows.iloc[start : start + _CHUNK], SIZE, ("images",)).images
            assert images is not None
            for offset, image in enumerate(images):
                mesh = mesher(image)
                if mesh is not None:
                    measured[start + offset] = measures(mesh)
    return measured, np.isfinite(measured).all(axis=1)


def fit(measured: npt.NDArray[Any], units: npt.NDArray[Any], ridge: float) -> Estimator:
    """The linear map from measures to action units with the least squared error plus `ridge` times its size.

    Ridge regression on standardised measures (Hoerl and Kennard, Technometrics 1970), all faces with equal weight.

    Args:
        measured: (N, F). units: (N, 17) in [0, 1]. ridge: weight of the penalty per face, above 0.
    """
    mean, offset = measured.mean(axis=0), units.mean(axis=0)
    deviation = measured.std(axis=0)
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    standardised = (measured - mean) / scale
    normal = standardised.T @ standardised / len(measured) + ridge * np.eye(measured.shape[1])
    weights = np.linalg.solve(normal, standardised.T @ (units - offset) / len(measured))
    return Estimator(mean, scale, weights, offset, "just fitted")


def stored(estimator: Estimator, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What `mimik.faces.action_units.geometric.estimator` reads, to be written as JSON with six significant digits."""

    def plain(values: Array) -> Any:
        return np.vectorize(lambda value: float(f"{value:.6g}"))(values).tolist()

    return {
        "provenance": dict(provenance),
        "action_units": list(ACTION_UNITS),
        "measures": list(NAMES),
        "mean": plain(estimator.mean),
        "scale": plain(estimator.scale),
        "offset": plain(estimator.offset),
        "weights": plain(estimator.weights),
    }


@dataclass(frozen=True)
class Leaning:
    """Rendered faces as the mesh sees them beside their true depth, for `fit_lean`.

    Attributes:
        seen: of M faces, what symmetry says about them.
        covariance: (M, 3, 3) of the mesh's depth, the height in the crop and the true depth over the face's pixels.
    """

    seen: Sequence[tilt.Evidence]
    covariance: Array

    def correlations(self, lean: Array) -> Array:
        """(M,) correlation of the true depth and the mesh's, corrected by `lean` (M,) as `tilt.lean` gives it."""
        made = np.stack([np.ones_like(lean), lean, np.zeros_like(lean)], axis=1)
        true = self.covariance[:, 2]
        variance = np.einsum("mi,mij,mj->m", made, self.covariance, made)
        result: Array = (made * true).sum(axis=1) / np.sqrt(variance * true[:, 2])
        return result

    def leans(self, constants: tilt.Constants) -> Array:
        """(M,) what these constants make of the faces."""
        return np.array([constants.lean(seen) for seen in self.seen])


def observe_lean(rows: pd.DataFrame, progress: bool = False) -> Leaning:
    """Find rendered faces and compare the depth of their meshes with the truth.

    Args:
        rows: of the synthetic index.
        progress: show a progress bar.
    """
    triangles = topology().triangles
    seen, covariances = [], []
    with FaceMesher() as mesher:
        for start in tqdm(range(0, len(rows), _CHUNK), desc="render and find", disable=not progress):
            rendering = synthetic.render(rows.iloc[start : start + _CHUNK], SIZE, ("images", "depth", "masks"))
            assert rendering.images is not None and rendering.depth is not None and rendering.masks is not None
            for image, depth, mask in zip(rendering.images, rendering.depth, rendering.masks, strict=True):
                mesh = mesher(image)
                if mesh is None:
                    continue
                transform = alignment.alignment(mesh[list(IBUG_68), :2])
                points = in_crop(mesh, transform)
                raster = rasterise(points * _COARSE, triangles, _COARSE)
                visible, row, column = _shown(transform, _COARSE, depth, mask)
                visible &= raster.covered
                picture = np.zeros((_COARSE, _COARSE, 2))
                picture[raster.covered] = interpolate(raster, triangles, points[:, [2, 1]])
                true = depth[row, column][visible].astype(np.float64)
                seen.append(tilt.evidence(points))
                covariances.append(np.cov(np.column_stack([picture[visible], true]).T))
    return Leaning(seen, np.array(covariances))


def fit_lean(faces: Leaning) -> tuple[tilt.Constants, float]:
    """The constants with the highest mean correlation of the depths, of `LEAN_PER_DEGREE` and `LEAN_DOUBT`.

    A mean lean that all faces share is fitted besides, so that the constants need not make up for it, and is no part
    of them: meshes of rendered heads lean back, those of photographs do not (docs/face_mesh.md).

    Returns:
        the constants, and that mean lean.
    """
    pitch = [seen.pitch for seen in faces.seen]
    limits = round(min(pitch), 1), round(max(pitch), 1)
    best: tuple[float, tilt.Constants, float] | None = None
    for of_all in LEAN_OF_ALL:
        others = replace(faces, seen=[replace(seen, slope=seen.slope - of_all) for seen in faces.seen])
        for slope, doubt in product(LEAN_PER_DEGREE, LEAN_DOUBT):
            constants = tilt.Constants(slope, doubt, limits)
            reached = float(faces.correlations(of_all + others.leans(constants)).mean())
            if best is None or reached > best[0]:
                best = reached, constants, of_all
    assert best is not None
    return best[1:]


def correlation(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Array:
    """Pearson's correlation of every column of two (N, k) arrays, float64 (k,); NaN where a column is constant."""
    a, b = (np.asarray(values, np.float64) - np.mean(values, axis=0, dtype=np.float64) for values in (first, second))
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    result: Array = np.full(a.shape[1], np.nan)
    np.divide((a * b).sum(axis=0), size, out=result, where=size > 0)
    return result


@dataclass(frozen=True)
class Comparison:
    """Faces as they were found beside what was rendered; M of `rendered` faces were found.

    Attributes:
        rendered: how many faces were rendered.
        units, true_units: (M, 17).
        depth_correlation: (M,) Pearson's correlation of stored and true depth over the face's pixels.
        depth_untilted: (M,) the same after the stored depth has lost the tilt (a plane) that it has against the truth.
        normal_error: (M,) mean angle between stored and true normals over the face's pixels, degrees.
        covered: (M,) share of the face's pixels that the mesh covers; the others are not compared.
        pitch, true_pitch: (M,) degrees, positive when looking up.
    """

    rendered: int
    units: Array
    true_units: Array
    depth_correlation: Array
    depth_untilted: Array
    normal_error: Array
    covered: Array
    pitch: Array
    true_pitch: Array


def compare(rows: pd.DataFrame, progress: bool = False) -> Comparison:
    """Reconstruct rendered faces like photographs and compare them with the truth.

    Args:
        rows: of the synthetic index.
        progress: show a progress bar.
    """
    reconstruct = Reconstructor((SIZE,), annotations=("depth", "normals"), action_units=True)
    truth = rows[list(ACTION_UNITS)].to_numpy(np.float64)
    found: list[tuple[Any, ...]] = []
    for start in tqdm(range(0, len(rows), _CHUNK), desc="render and compare", disable=not progress):
        part = rows.iloc[start : start + _CHUNK]
        rendering = synthetic.render(part, SIZE, ("images", "depth", "normals", "masks"))
        assert rendering.images is not None and rendering.depth is not None
        assert rendering.normals is not None and rendering.masks is not None
        true_relief = rendering.depth, rendering.normals, rendering.masks
        for offset, image in enumerate(rendering.images):
            face = reconstruct(image)
            if isinstance(face, Face):
                assert face.action_units is not None and face.pose is not None
                relief = relief_error(face, *(array[offset] for array in true_relief))
                # The renderer's pitch lowers the nose.
                pitches = (face.pose[1], -float(part["pitch"].iloc[offset]))
                found.append((face.action_units, truth[start + offset], *relief, *pitches))
    columns = [np.array(values, np.float64) for values in zip(*found, strict=True)]
    return Comparison(len(rows), *columns)


def relief_error(
    face: Face, depth: npt.NDArray[np.uint8], normals: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]
) -> tuple[float, float, float, float]:
    """Depth and normals of a reconstructed face against the truth of its picture.

    Args:
        face: with depth and normals at one size S.
        depth, normals, mask: true ones of the picture, (H, W), (H, W, 3), (H, W), encoded like
            `mimik.faces.prepared.store`.

    Returns:
        correlation of the depths; the same without tilt; mean angle of the normals, degrees; share of the face's
        pixels that both know. Pixels of the aligned crop, in the classes `FACE_CLASSES`.
    """
    (size,) = face.depth
    visible, row, column = _shown(face.transform, size, depth, mask)
    both = visible & (face.depth[size] > 0)
    seen, true = face.depth[size][both].astype(np.float64), depth[row, column][both].astype(np.float64)
    rows, columns = np.nonzero(both)
    plane = np.stack([true, columns, rows, np.ones(len(rows))], axis=1)
    tilt = np.linalg.lstsq(plane, seen, rcond=None)[0] * (0, 1, 1, 0)

    # The crop is a turned picture: true normals turn along, with y up.
    turn = face.transform[:, :2] / alignment.scale_of(face.transform)
    directions = normals[row, column][both] / 127.5 - 1.0
    directions[:, :2] = (directions[:, :2] * (1, -1)) @ turn.T * (1, -1)
    cosine = (_unit(face.normals[size][both] / 127.5 - 1.0) * _unit(directions)).sum(axis=1)
    return (
        float(correlation(seen[:, None], true[:, None])[0]),
        float(correlation((seen - plane @ tilt)[:, None], true[:, None])[0]),
        float(np.degrees(np.arccos(cosine.clip(-1, 1))).mean()),
        float(both.sum() / visible.sum()),
    )


def _shown(
    transform: npt.NDArray[Any], size: int, depth: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which pixels of a crop show the face in truth, and the row and column of the picture each of them shows.

    Args:
        transform: (2, 3), source pixel -> fraction of the crop's side. size: of the crop, pixels.
        depth, mask: (H, W) true ones of the picture.

    Returns:
        bool (size, size), then int64 (size, size) twice, within the picture.
    """
    grid = (np.arange(size) + 0.5) / size
    back = alignment.inverse(transform)
    places = np.floor(alignment.apply(back, np.stack(np.meshgrid(grid, grid), axis=-1))).astype(np.int64)
    inside = ((places >= 0) & (places < depth.shape[::-1])).all(axis=-1)
    column, row = places[..., 0].clip(0, depth.shape[1] - 1), places[..., 1].clip(0, depth.shape[0] - 1)
    classes = [SEGMENTATION_CLASSES.index(name) for name in FACE_CLASSES]
    return inside & (depth[row, column] > 0) & np.isin(mask[row, column], classes), row, column


def _unit(vectors: Array) -> Array:
    scaled: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return scaled
