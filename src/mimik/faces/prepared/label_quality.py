"""Scores of the labels of a prepared dataset's training faces, and what training does with them.

Other networks than the one that is trained have scored them: see `mimik.pretraining.label_quality`. Only faces of the
split `train` have scores. Validation and test faces are neither scored nor left out: what measures a result must not
depend on what a classifier finds likely.

data/label_quality/<dataset>/
  scores.csv           id, expression, fold, confidence, weight, probable, then `probability_<class>`; see `COLUMNS`
  label_quality.json   how they were made, per class how many faces there are, how many are doubted, the threshold
  doubted.png          the doubted faces of every class, the least likely first
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.storage.arrays import read_table
from mimik.storage.files import file_sha256
from mimik.storage.records import command_for, read_record

SCORES, RECORD, SHEET = "scores.csv", "label_quality.json", "doubted.png"

COLUMNS = ("id", "expression", "fold", "confidence", "weight", "probable")
"""Of scores.csv. `fold`: which was held out, from 1; `confidence`: the held-out probability of the given label, in
[0, 1]; `weight`: confidence over the class's threshold, at most 1; `probable`: the class that a doubted label should
rather be, empty where it is not doubted."""


@dataclass(frozen=True)
class LabelQualityConfig:
    """The group `label_quality` of a dataset.

    Attributes:
        action: what trainings that read labels do with the scores. `keep`: nothing, the scores and the sheet of the
            doubted faces are only made; `weight`: a face is drawn less often, by its weight, and each class as often as
            before; `leave_out`: doubted faces are not drawn. None: labels are not scored.
        folds: parts of the training faces, each scored by a classifier that is trained on the others. A person is in
            one of them only.
        classifier: the entry of `classifiers` that scores.
        reliable: least share of the faces of a class that the classifiers must tell right; the labels of other classes
            are used as they are. Of a rare class that they hardly know, classifiers doubt the good examples too.
    """

    action: Literal["keep", "weight", "leave_out"] | None = None
    folds: int = 4
    classifier: str = "small"
    reliable: float = 0.7

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, not {self.folds}")
        if not 0 <= self.reliable <= 1:
            raise ValueError(f"reliable must be a share from 0 to 1, not {self.reliable}")


@dataclass(frozen=True)
class LabelScores:
    """Scores of the labelled training faces of a store, in the order of its rows.

    Attributes:
        record: label_quality.json.
        table: scores.csv.
        rows: int64 (n,), rows of the store.
        weights: float64 (n,), in (0, 1].
        doubted: bool (n,).
    """

    record: Mapping[str, Any]
    table: pd.DataFrame
    rows: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    doubted: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Drawn:
    """What a training draws from.

    Attributes:
        rows: int64 (n,), rows of the store.
        weights: float64 (N,), one for every row of the store, how often it is drawn relative to others of its class;
            None: all equally often.
        facts: for the record of the training: `action`, `folds`, `reliable`, `scores_sha256`, and by class `faces`,
            `doubted`, `left_out`.
    """

    rows: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None
    facts: Mapping[str, Any]


def scored_rows(store: FaceStore) -> npt.NDArray[np.int64]:
    """Rows of the training faces with a label, ascending. Raises `UserError` when a class has none."""
    rows = store.training_rows()
    rows = rows[store.labels()[rows] >= 0]
    if not len(rows):
        raise UserError(
            f"{store.directory / 'index.csv'}: no training face has an expression label, so there is none to score. "
            "Leave `label_quality` of this dataset empty."
        )
    return rows


def read_scores(directory: Path | str, store: FaceStore) -> LabelScores:
    """Read the scores of a store.

    Raises:
        UserError: a file is missing or damaged, or they are the scores of another preparation of the dataset.
    """
    folder = Path(directory)
    path = folder / RECORD
    remedy = f"Score them again: `{command_for(path, 'label_quality')}`."
    record = read_record(path, "label_quality", ("dataset_digest", "classes", "folds", "scores_sha256"))
    if list(record["classes"]) != store.classes:
        raise UserError(f"{path}: expected the classes {', '.join(store.classes)}. {remedy}")
    if record["dataset_digest"] != store.digest:
        raise UserError(f"{path}: these are scores of another preparation of {store.name}. {remedy}")
    scores = folder / SCORES
    texts = dict.fromkeys(("id", "expression", "probable"), str)
    table = read_table(scores, remedy, COLUMNS, dtype=texts, keep_default_na=False, na_values={})
    if file_sha256(scores) != record["scores_sha256"]:
        raise UserError(f"{scores}: is not the file that {path} was written with. {remedy}")
    rows = scored_rows(store)
    if table["id"].tolist() != store.table["id"].iloc[rows].tolist():
        raise UserError(f"{scores}: its faces are not the labelled training faces of {store.directory}. {remedy}")
    weights = table["weight"].to_numpy(np.float64)
    return LabelScores(record, table, rows, weights, (table["probable"] != "").to_numpy())


def drawn(directory: Path | str, store: FaceStore, action: str, reliable: float) -> Drawn:
    """What trainings that read labels draw from, by `LabelQualityConfig`.

    Training faces without a label stay, with weight 1, and so do those of classes that are not `reliable`.

    Raises:
        UserError: see `read_scores`; or every face of a class would be left out.
    """
    scores, labels = read_scores(directory, store), store.labels()
    classes = scores.record["classes"]
    judged = np.array([classes[name]["told_right"] >= reliable for name in store.classes])[labels[scores.rows]]
    rows, weights = store.training_rows(), None
    gone = scores.rows[judged & scores.doubted] if action == "leave_out" else np.zeros(0, np.int64)
    if action == "weight":
        weights = np.ones(len(store))
        weights[scores.rows[judged]] = scores.weights[judged]
    left_out = _counted(store, gone)
    if empty := [name for name, count in left_out.items() if count == classes[name]["faces"]]:
        raise UserError(
            f"{Path(directory) / RECORD}: every face of {', '.join(empty)} is doubted and would be left out. Raise "
            "`label_quality.reliable` of this dataset, or set its `action` to weight."
        )
    facts = {
        "action": action,
        "folds": scores.record["folds"],
        "reliable": reliable,
        "faces": _counted(store, scores.rows),
        "doubted": _counted(store, scores.rows[scores.doubted]),
        "left_out": left_out,
        "scores_sha256": scores.record["scores_sha256"],
    }
    return Drawn(np.setdiff1d(rows, gone), weights, facts)


def _counted(store: FaceStore, rows: npt.NDArray[np.int64]) -> dict[str, int]:
    """Faces by class."""
    counts = np.bincount(store.labels()[rows], minlength=len(store.classes)).tolist()
    return dict(zip(store.classes, counts, strict=True))
