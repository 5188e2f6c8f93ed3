"""A prepared dataset of 32 px whose truth can be read off: the class is the colour of a square, which moves."""

import json

import numpy as np
import pandas as pd
import pytest

from mimik.labels import ACTION_UNITS, IGNORED, SEGMENTATION_CLASSES

SIZE = 32
COLOURS = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220]], np.uint8)


def write_store(directory, counts):
    """Write a store; `counts` is the number of faces by split."""
    directory.mkdir()
    random = np.random.default_rng(7)
    total = sum(counts.values())
    labels = np.arange(total) % len(COLOURS)
    images = random.integers(90, 110, (total, SIZE, SIZE, 3)).astype(np.uint8)
    masks = np.zeros((total, SIZE, SIZE), np.uint8)
    masks[:, :2] = IGNORED
    places = random.integers(4, 14, (total, 2))
    for row, (y, x) in enumerate(places):
        images[row, y : y + 14, x : x + 14] = COLOURS[labels[row]]
        masks[row, y : y + 14, x : x + 14] = SEGMENTATION_CLASSES.index("skin")
    table = pd.DataFrame(
        {
            "id": [f"face{row}" for row in range(total)],
            "split": [split for split, count in counts.items() for _ in range(count)],
            "source": "",
            "expression": np.array(["red", "green", "blue"])[labels],
            "identity": [str(row) for row in range(total)],
        }
    )
    for position, name in enumerate(ACTION_UNITS):
        table[name] = places[:, position % 2] / 16 if position < 2 else 0.5
    table.to_csv(directory / "index.csv", index=False)
    np.save(directory / f"images_{SIZE}.npy", images)
    np.save(directory / f"masks_{SIZE}.npy", masks)
    manifest = {"sizes": [SIZE], "classes": ["red", "green", "blue"], "digest": "squares", "source": "rendered"}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


@pytest.fixture(scope="session")
def squares(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "squares", {"train": 60, "val": 3, "test": 30})


@pytest.fixture
def settings():
    """Settings that every training needs."""
    return {"dataset": "synthetic", "name": "mine", "scale": "demo", "seed": 3, "image_size": SIZE}
