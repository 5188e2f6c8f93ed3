"""A made-up 3DDFA_V2: a dome for a face, and a network that always answers the same."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mimik.faces.reconstruction import tddfa
from mimik.networks.mobilenet import MobileNet
from mimik.storage.files import file_sha256
from tests.networks.test_mobilenet import stored

WIDE, TALL, DEEP = 46.0, 90.0, 40.0
"""Half axes of the ellipsoid, pixels of the network's picture."""

UNIT = 1000.0
"""Units of the model in a pixel."""

FRONTAL = np.array([[1 / UNIT, 0, 0, 60.5], [0, 1 / UNIT, 0, 60.5], [0, 0, 1 / UNIT, 7.0]])
"""Camera that puts the model's origin into the middle of the picture."""


def heights(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth of the ellipsoid's front over points from its middle, pixels; 0 beyond it."""
    return DEEP * np.sqrt(np.maximum(0, 1 - (x / WIDE) ** 2 - (y / TALL) ** 2))


def dome(landmarks: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Arrays of a basis file: the front half of an ellipsoid in rings, behind 68 vertices for the landmarks.

    Args:
        landmarks: (68, 2) pixels in the network's picture; None: a pattern.
    """
    rng = np.random.default_rng(0)
    if landmarks is None:
        landmarks = 60 + rng.uniform(-25, 25, (68, 2))
    rings, steps = 40, 64
    radius = np.sin(np.linspace(0.02, np.pi / 2, rings))[:, None]
    angle = np.arange(steps) * (2 * np.pi / steps)
    x, y = (WIDE * radius * np.cos(angle)).ravel(), (TALL * radius * np.sin(angle)).ravel()
    x, y = np.append(landmarks[:, 0] - 60, x), np.append(60 - landmarks[:, 1], y)  # y up
    u = np.stack([x, y, heights(x, y)], axis=1) * UNIT
    first = 68 + (np.arange(rings - 1) * steps)[:, None]
    here, after = first + np.arange(steps), first + (np.arange(steps) + 1) % steps
    tri = np.concatenate(
        [np.stack([here, after, here + steps], 2), np.stack([after, after + steps, here + steps], 2)]
    ).reshape(-1, 3)
    return {
        "u": u.reshape(-1, 1).astype(np.float32),
        "w_shp": rng.normal(0, 0.01, (u.size, 40)).astype(np.float32),
        "w_exp": rng.normal(0, 0.3, (u.size, 10)).astype(np.float32),
        "tri": tri.astype(np.int32),
        "keypoints": np.arange(204),
        "mean": np.concatenate([FRONTAL.ravel(), np.zeros(50)]).astype(np.float32),
        "std": np.full(62, 0.5, np.float32),
    }


def supply(folder: Path, monkeypatch: Any, arrays: dict[str, np.ndarray]) -> tddfa.Files:
    """Put both files into `folder`: the network answers 0, so the parameters are `mean`."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    network = MobileNet(0.5)
    torch.nn.init.zeros_(network.fc_param.weight)
    torch.nn.init.zeros_(network.fc_param.bias)
    path = stored(folder / "mb05_120x120.pth", network)
    monkeypatch.setattr(tddfa, "NETWORKS", {"mb1_120x120.pth": "0" * 64, path.name: file_sha256(path)})
    np.savez(folder / tddfa.BASIS, **arrays)
    return tddfa.Files.find(folder)
