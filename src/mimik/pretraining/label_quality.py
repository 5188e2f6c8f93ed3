"""Scores every label of the training faces by classifiers that were trained on other persons.

The training faces are divided into folds; a classifier that is trained on all but one of them says how probable each
class is for the faces of that one. `mimik.statistics.label_noise` tells from this which labels are doubted, and
`mimik.faces.prepared.label_quality` what training does with it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F

from mimik.datasets.photographs import split_by_group
from mimik.errors import UserError
from mimik.faces.prepared.label_quality import RECORD, SCORES, scored_rows
from mimik.faces.prepared.store import FaceStore
from mimik.networks.face_classifier import FaceClassifier
from mimik.pretraining import runs
from mimik.pretraining.classifier import ClassifierTask, settings_read, untrained
from mimik.statistics.label_noise import doubts
from mimik.storage.files import file_sha256, write_json, write_text
from mimik.training.devices import run_environment


def score_labels(
    settings: Mapping[str, Any], store_dir: Path | str, output_dir: Path | str, checkpoint_dir: Path | str
) -> None:
    """Score the labels of a dataset's training faces; see `mimik.faces.prepared.label_quality` for what is written.

    Args:
        settings: `dataset`, `seed`, `image_size`, `folds`, and `classifier`: those of `pretrain_classifier`.
        store_dir: the prepared dataset.
        output_dir: where scores.csv and label_quality.json go.
        checkpoint_dir: where the state of the trainings is kept; a run that was stopped goes on there.

    Raises:
        UserError: settings that do not fit, a file that is missing, a class without training faces, or of fewer persons
            than there are folds.
    """
    if settings["classifier"]["config"].get("predicts", "expression") != "expression":
        raise UserError(
            f"datasets.{settings['dataset']}.label_quality.classifier: expected a classifier of expressions; "
            f"{settings['classifier']['name']!r} predicts attributes."
        )
    store = FaceStore(store_dir, settings["image_size"])
    rows = scored_rows(store)
    labels = store.labels()[rows]
    folds = folds_of(store, rows, settings["folds"], settings["seed"])
    probabilities = np.empty((len(rows), len(store.classes)))
    checkpoints = [Path(checkpoint_dir) / f"fold_{fold}" for fold in range(1, settings["folds"] + 1)]
    for fold, checkpoint in enumerate(checkpoints, 1):
        held = folds == fold
        classifier = _trained_without(settings, store, rows[~held], fold, checkpoint)
        probabilities[held] = held_out(classifier, store, rows[held])
    if not runs.is_first_process():
        return
    found = doubts(probabilities, labels)
    names = np.array([*store.classes, ""])  # the last for -1
    table = pd.DataFrame(
        {
            "id": store.table["id"].iloc[rows].to_numpy(),
            "expression": names[labels],
            "fold": folds,
            "confidence": found.own,
            "weight": np.minimum(1.0, found.own / found.thresholds[labels]),
            "probable": names[found.probable],
            **{f"probability_{name}": probabilities[:, place] for place, name in enumerate(store.classes)},
        }
    )
    output = Path(output_dir)
    write_text(output / SCORES, table.to_csv(index=False))
    doubted = found.probable >= 0
    record = {
        "dataset": settings["dataset"],
        "dataset_digest": store.digest,
        "seed": settings["seed"],
        "image_size": store.size,
        "folds": settings["folds"],
        "classifier": dict(settings["classifier"]),
        "classes": {
            name: {
                "faces": int((labels == place).sum()),
                "doubted": int((doubted & (labels == place)).sum()),
                "threshold": float(found.thresholds[place]),
                "told_right": float((probabilities[labels == place].argmax(1) == place).mean()),
            }
            for place, name in enumerate(store.classes)
        },
        "scores_sha256": file_sha256(output / SCORES),
        "environment": run_environment(),
    }
    write_json(output / RECORD, record)
    for checkpoint in checkpoints:
        (checkpoint / "last.pt").unlink(missing_ok=True)


def folds_of(store: FaceStore, rows: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Fold of each row, int64 (n,) from 1 to `count`: no person in two, each class spread evenly over them.

    Raises:
        UserError: outside of some fold, a class has no face: it is of too few persons.
    """
    table = store.table.iloc[rows]
    labels = table["expression"].tolist()
    # A blank cannot be in an identity and an id alike; without a person a face is a group of its own.
    people = [person or f" {face}" for person, face in zip(table["identity"], table["id"], strict=True)]
    names = [str(fold) for fold in range(1, count + 1)]
    folds = np.array(split_by_group(people, labels, dict.fromkeys(names, 1 / count), seed), np.int64)
    for name in store.classes:
        own = folds[table["expression"].to_numpy() == name]
        if len(np.unique(own)) < 2:
            raise UserError(
                f"{store.directory / 'index.csv'}: the training faces of the class {name!r} are of one person, or of "
                "too few, so no classifier that has not seen this person can score them. Leave `label_quality` of "
                "this dataset empty."
            )
    return folds


def held_out(classifier: FaceClassifier, store: FaceStore, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Probabilities of the classes, (n, C), by a classifier, which is put into evaluation mode."""
    device = next(classifier.parameters()).device
    classifier.eval()
    with torch.no_grad():
        parts = [F.softmax(classifier(images).double(), 1) for _, images in runs.image_batches(store, rows, device)]
    values: npt.NDArray[np.float64] = torch.cat(parts).cpu().numpy()
    return values


def _trained_without(
    settings: Mapping[str, Any], store: FaceStore, rows: npt.NDArray[np.int64], fold: int, checkpoint: Path
) -> FaceClassifier:
    """A classifier that is trained on rows outside of a fold."""
    own = settings["classifier"]
    config, training = settings_read(own)
    classifier, resolved = untrained(config, own, store.classes)
    fit = {**own, "name": f"labels, fold {fold} of {settings['folds']}"}
    # With the fold in it, a state is not taken for that of another division.
    resolved |= {"fold": fold, "folds": settings["folds"]}
    runs.fit(ClassifierTask(classifier, config), store, rows, training, fit, resolved, checkpoint, None)
    return classifier
