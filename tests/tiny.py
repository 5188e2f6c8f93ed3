"""A tiny prepared dataset of random pictures, for tests that need a store but no faces."""

from pathlib import Path

import numpy as np
import pandas as pd

from mimik.faces.store import FaceStore
from mimik.files import write_json
from mimik.labels import ACTION_UNITS, EXPRESSIONS


def make_store(directory: Path, *, count: int = 48, size: int = 16, classes: int = 4, seed: int = 0) -> FaceStore:
    """Colour blobs whose colour follows the class, with masks of every class and random action units."""
    random = np.random.default_rng(seed)
    names = EXPRESSIONS[:classes]
    labels = np.arange(count) % classes
    images = random.integers(0, 60, (count, size, size, 3)).astype(np.uint8)
    images[np.arange(count), :, :, labels % 3] += (100 + 20 * labels[:, None, None]).astype(np.uint8)
    masks = random.integers(0, 19, (count, size, size)).astype(np.uint8)
    table = pd.DataFrame(
        {
            "id": [f"f{i:03d}" for i in range(count)],
            "split": np.where(
                np.arange(count) < count - 16, "train", np.where(np.arange(count) < count - 8, "val", "test")
            ),
            "source": "",
            "expression": [names[label] for label in labels],
            "identity": [f"p{i // classes}" for i in range(count)],
        }
    )
    for unit in ACTION_UNITS:
        table[unit] = random.random(count).astype(np.float32)
    directory.mkdir(parents=True, exist_ok=True)
    np.save(directory / f"images_{size}.npy", images)
    np.save(directory / f"masks_{size}.npy", masks)
    table.to_csv(directory / "index.csv", index=False)
    write_json(directory / "manifest.json", {"sizes": [size], "classes": list(names), "digest": f"tiny-{seed}"})
    return FaceStore(directory, size)
