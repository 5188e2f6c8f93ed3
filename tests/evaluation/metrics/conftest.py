"""A test set small enough to be worked out by hand.

Three classes, three channels: the "classifier" of these tests sees the class of the brightest channel.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mimik.evaluation.extractors import PUBLISHED
from mimik.evaluation.measurements import EvaluationSettings, Measurements
from mimik.evaluation.places import Extractor, Missing
from mimik.faces.prepared.store import FaceStore
from mimik.labels import ACTION_UNITS

CLASSES = ["anger", "fear", "happiness"]
SIZE = 16

Measure = Callable[..., Measurements]


def draw(labels: Any, identities: Any, size: int = SIZE) -> np.ndarray:
    """uint8 (N, size, size, 3): the upper half of the label's channel at 200, the rest at 10 times the identity."""
    images = np.zeros((len(labels), size, size, 3), dtype=np.uint8)
    images[:] = 10 * np.array([int(name) for name in identities])[:, None, None, None]
    for image, label in zip(images, labels, strict=True):
        image[: size // 2, :, label] = 200
    return images


def mean_colour(images: torch.Tensor) -> torch.Tensor:
    return images.mean((2, 3))


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Factory of `Measurements`; images (N, S, S, 3) and labels of the test split are drawn when not given.

    Networks are given by name (`PUBLISHED`, classifier, reader, geometric, segmenters).

    With `truth` the dataset has true targets: the target in the brightest channel, the identity in the others, action
    units of half the class.
    """

    def make(
        *,
        labels: Any = (0, 1, 2, 0),
        images: np.ndarray | None = None,
        translations: np.ndarray | None = None,
        cycle: np.ndarray | None = None,
        rows: Any = None,
        settings: dict[str, Any] | None = None,
        arrays: dict[str, np.ndarray] | None = None,
        truth: bool = False,
        folder: str = "first",
        attributes: tuple[str, ...] = (),
        **given: Any,
    ) -> Measurements:
        directory, scratch = tmp_path / folder / "store", tmp_path / folder / "scratch"
        directory.mkdir(parents=True)
        scratch.mkdir()
        number = len(labels)
        identities = [str(index) for index in range(number)]
        table = pd.DataFrame(
            {
                "id": [f"face{index}" for index in range(number)],
                "split": "test",
                "source": "",
                "expression": [CLASSES[label] if label >= 0 else "" for label in labels],
                "identity": identities,
            }
        )
        table.to_csv(directory / "index.csv", index=False)
        images = draw(labels, identities) if images is None else images
        size = images.shape[1]
        (directory / "manifest.json").write_text(json.dumps({"sizes": [size], "classes": CLASSES, "digest": "d"}))
        np.save(directory / f"images_{size}.npy", images)
        for name, array in (arrays or {}).items():
            np.save(directory / f"{name}.npy", array)
        if truth:
            true = [draw([target] * number, identities, size) for target in range(3)]
            np.save(directory / f"truth_{size}.npy", np.stack(true, 1))
            units = np.broadcast_to(np.arange(3, dtype=np.float32)[:, None] / 2, (number, 3, len(ACTION_UNITS)))
            np.save(directory / "truth_action_units.npy", units)
        rows = np.arange(number) if rows is None else np.array(rows)
        if translations is None:
            drawn = [draw([target] * len(rows), [identities[row] for row in rows], size) for target in range(3)]
            translations = np.stack(drawn, 1)
        nothing = Missing("put the file there.")
        made = Measurements(
            translations=translations,
            cycle=translations if cycle is None else cycle,
            store=FaceStore(directory, size),
            rows=rows.astype(np.int64),
            settings=EvaluationSettings(metrics=(), **{"bootstrap": 200, "batch_size": 5, **(settings or {})}),
            scratch=scratch,
            attributes=attributes,
            # Whichever weights lie on this machine.
            published={opener: given.pop(name, nothing) for name, opener in PUBLISHED.items()},
            segmenter_before=given.pop("segmenter_before", nothing),
            segmenter_after=given.pop("segmenter_after", nothing),
            reversal=given.pop("reversal", "alone"),
        )
        views = {
            "classifier": Extractor(
                "colour", "c0ffee", lambda x: {"logits": mean_colour(x), "features": mean_colour(x)}
            ),
            "reader": nothing,
        }
        for name, extractor in {**views, **given}.items():
            setattr(made, name, extractor)
        return made

    return make


@pytest.fixture
def faces() -> Callable[..., np.ndarray]:
    """`draw`, for tests that need the pictures themselves."""
    return draw
