"""A small world of results on disk: a prepared dataset and what methods made of it, every number known."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mimik.reporting.results import Result, read_result

CLASSES = ["neutral", "happiness", "anger"]
FACES, SIZE = 12, 16


def metric(value: float, half: float = 0.01, **extra: Any) -> dict[str, Any]:
    return {"value": value, "ci": [value - half, value + half], "n": 24, "protocol": "by hand", **extra}


def make_store(root: Path, dataset: str = "rendered", *, truth: bool = False) -> Path:
    """Twelve test faces of six people; face i is of the flat grey 10 * i, its mask is all of class 1.

    With `truth` the true image of class t of face i is of the flat grey 200 + t - i.
    """
    directory = root / "data" / "prepared" / dataset
    directory.mkdir(parents=True)
    pd.DataFrame(
        {
            "id": [f"face{i:02d}" for i in range(FACES)],
            "split": "test",
            "source": "",
            "expression": [CLASSES[i % 3] for i in range(FACES)],
            "identity": [f"person{i // 2}" for i in range(FACES)],
        }
    ).to_csv(directory / "index.csv", index=False)
    (directory / "manifest.json").write_text(json.dumps({"sizes": [SIZE], "classes": CLASSES, "digest": "d" * 64}))
    grey = (10 * np.arange(FACES, dtype=np.uint8))[:, None, None, None]
    np.save(directory / f"images_{SIZE}.npy", np.broadcast_to(grey, (FACES, SIZE, SIZE, 3)).copy())
    np.save(directory / f"masks_{SIZE}.npy", np.ones((FACES, SIZE, SIZE), np.uint8))
    if truth:
        greys = (200 + np.arange(len(CLASSES)) - np.arange(FACES)[:, None])[:, :, None, None, None]
        images = np.broadcast_to(greys, (FACES, len(CLASSES), SIZE, SIZE, 3)).astype(np.uint8)
        np.save(directory / f"truth_{SIZE}.npy", images)
    return directory


def make_result(
    root: Path,
    method: str = "stargan",
    dataset: str = "rendered",
    scale: str = "demo",
    metrics: Mapping[str, Any] | None = None,
    shift: int = 40,
) -> Path:
    """A method that makes target t by adding `shift` * t to every channel."""
    directory = root / "results" / dataset / method
    (directory / "translations").mkdir(parents=True)
    grey = 10 * np.arange(FACES)[:, None] + shift * np.arange(len(CLASSES))
    images = np.broadcast_to(grey[:, :, None, None, None], (FACES, len(CLASSES), SIZE, SIZE, 3)).astype(np.uint8)
    np.save(directory / "translations" / "images.npy", images)
    manifest = {
        "rows": list(range(FACES)),
        "ids": [f"face{i:02d}" for i in range(FACES)],
        "source_labels": [i % 3 for i in range(FACES)],
        "classes": CLASSES,
        "size": SIZE,
        "mask_rows": [0, 5],
    }
    (directory / "translations" / "manifest.json").write_text(json.dumps(manifest))
    record = {
        "dataset": dataset,
        "method": method,
        "scale": scale,
        "seed": 0,
        "git_commit": "0123456789abcdef",
        "dataset_digest": "d" * 64,
        "config_digest": "c" * 64,
        "mlflow_run_id": None,
        "classes": CLASSES,
        "metrics": {"eea": metric(0.9)} if metrics is None else dict(metrics),
    }
    (directory / "metrics.json").write_text(json.dumps(record))
    (directory / "config.json").write_text(json.dumps({"dataset": dataset, "method": method}))
    return directory


def add_continuous(directory: Path, *, truth: bool = True, units: bool = True, brightness: int = 0) -> None:
    """Continuous edits of faces 4 (to happiness) and 2 (to neutral), and of the units AU04 and AU12 of face 4.

    Every picture is of a flat grey: by strength 100 * face + 10 * level + `brightness`, the truth 5 more; of units
    100 + 20 * unit + level + `brightness`, the truth 5 more. Changes of units are 100 brighter; with face 1 as their
    example faces 4 and 2 are 50 and 60 + `brightness`.
    """
    face, level = np.arange(2)[:, None], np.arange(3)[None]
    strengths = 100 * face + 10 * level + brightness
    edited = (100 + 20 * face + level)[None] + brightness
    kept = {"strengths": [strengths, strengths + 5], "action_units": [edited, edited + 5]}
    kept["unit_changes"] = [100 + layer for layer in kept["action_units"]]
    example = np.array([[50], [60]]) + brightness
    kept["exemplars"] = [example, example + 5]
    for name, layers in kept.items():
        greys = np.stack(layers[: 2 if truth else 1])
        if name != "strengths" and not units:
            greys = greys[:, :0]
        images = np.broadcast_to(greys[..., None, None, None], (*greys.shape, SIZE, SIZE, 3)).astype(np.uint8)
        np.save(directory / "translations" / f"{name}.npy", images)
    path = directory / "translations" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["strengths"] = {"rows": [4, 2], "targets": [1, 0], "levels": [0, 0.5, 1]}
    manifest["action_units"] = {"rows": [4] if units else [], "names": ["AU04", "AU12"], "levels": [0, 0.5, 1]}
    manifest["unit_changes"] = {**manifest["action_units"], "levels": [-1, 0, 1]}
    manifest["exemplars"] = {"rows": [4, 2] if units else [], "like": [1, 1] if units else [], "levels": [1]}
    path.write_text(json.dumps(manifest))


def make(root: Path, method: str = "stargan", **options: Any) -> Result:
    """One result in a world that is made if needed."""
    dataset = options.get("dataset", "rendered")
    store = root / "data" / "prepared" / dataset
    if not store.exists():
        make_store(root, dataset)
    return read_result(make_result(root, method, **options), store)


def embedded_images(svg: str) -> list[np.ndarray]:
    """Every image of an SVG, decoded (RGBA or RGB)."""
    import base64
    import io
    import re

    from PIL import Image

    found = re.findall(r'href="data:image/webp;base64,([^"]+)"', svg)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]
