"""A tiny prepared dataset of random pictures, for tests that need a store but no faces."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mimik.faces.prepared.store import FaceStore
from mimik.labels import ACTION_UNITS, EXPRESSIONS
from mimik.storage.files import write_json


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


def make_described_store(root: Path) -> tuple[FaceStore, Path]:
    """A tiny store as of photographs, with a whole manifest, and its archive.

    Faces 3 and 40 have no label; of two rejected files one is a picture, one is damaged.
    """
    store = make_store(root / "data" / "prepared" / "folder")
    table = store.table.copy()
    table["source"] = [f"{name}.png" for name in table["id"]]
    table.loc[[3, 40], "expression"] = ""
    table["sha256"] = [f"{row:064x}" for row in range(len(table))]
    table["yaw"] = np.linspace(-30, 30, len(table))
    table.to_csv(store.directory / "index.csv", index=False)
    raw = root / "data" / "raw" / "folder"
    raw.mkdir(parents=True)
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(raw / "wall.png")
    (raw / "torn.png").write_bytes(b"\x89PNG")
    (store.directory / "quarantine.csv").write_text(
        "path,stage,reason\ntorn.png,read,cannot be decoded\nwall.png,landmarks,no face found\n"
    )
    write_json(
        store.directory / "manifest.json",
        {
            "dataset": "folder",
            "importer": {
                "module": "folder",
                "version": "0.1.0",
                "layout": "one folder for each class",
                "code_sha256": "c" * 64,
                "decoder": "pillow 11.1.0",
            },
            "files": {"count": 48, "bytes": 1_234_567, "sha256": "d" * 64},
            "restricted": True,
            "digest": "tiny-0",
            "sizes": [16],
            "classes": store.classes,
            "aligned_fraction": 0.96,
            "annotations": ["masks"],
            "masks": "mesh",
            "source": "photographs",
            "landmarks": "mediapipe",
            "action_units": {"extractor": "geometric", "version": "7"},
            "template": "five-points-1",
            "packages": ["mediapipe 0.10.21"],
            "seed": 5,
            "options": {"sizes": [16], "grey": False, "classes": []},
            "found": ["48 of 50 photographs; missing: f048.png, f049.png"],
            "notes": ["A note."],
            "licence": "Only for you.",
            "citation": "Nobody 2020.",
            "arrays": {"images_16.npy": "a" * 64, "masks_16.npy": "b" * 64},
        },
    )
    return FaceStore(store.directory, 16), raw
