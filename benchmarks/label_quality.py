"""What the scores of a dataset's labels are worth: classifiers trained on all labels, on weighted ones and without the
doubted, measured on the faces of `val` and `test`; and whether a second list of labels agrees.

    mimik data score DATASET
    python benchmarks/label_quality.py DATASET [--steps 350] [--seeds 3] [--second FILE]

FILE: a CSV with the columns id and expression, labels of the same faces by somebody else. Run it in the project folder.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mimik.faces.prepared.label_quality import drawn, read_scores
from mimik.faces.prepared.store import FaceStore
from mimik.pretraining import runs
from mimik.pretraining.classifier import ClassifierTask, classification_confusion, settings_read, untrained
from mimik.settings import params
from mimik.statistics.confusion import accuracy, macro_f1, per_class_accuracy
from mimik.storage.arrays import read_table

USES = (("all", None, 0.0), ("weight", "weight", 0.7), ("leave_out", "leave_out", 0.7))
"""Name, action and `reliable` of what is compared."""


def main() -> None:
    """Print one JSON line per training, then one on the second list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--classifier", default="small", help="an entry of params.yaml's classifiers")
    parser.add_argument("--steps", type=int, default=350)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--second", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    values = params.load()
    size = params.image_size_of(values, chosen.dataset)
    store, scores = FaceStore(Path("data/prepared") / chosen.dataset, size), Path("data/label_quality") / chosen.dataset
    settings = params.resolve_classifier(values, chosen.dataset, chosen.classifier)
    settings["training"] = {**settings["training"], "steps": chosen.steps}
    for seed in range(chosen.seeds):
        for name, action, reliable in USES:
            print(
                json.dumps(
                    {"seed": seed, "use": name, **trained({**settings, "seed": seed}, store, scores, action, reliable)}
                ),
                flush=True,
            )
    if chosen.second:
        print(json.dumps(agreement(store, scores, chosen.second)))


def trained(
    settings: dict[str, Any], store: FaceStore, scores: Path, action: str | None, reliable: float
) -> dict[str, Any]:
    """A classifier's scores on the faces of both other splits."""
    used = None if action is None else drawn(scores, store, action, reliable)
    rows = runs.labelled(store, "train") if used is None else used.rows
    config, training = settings_read(settings)
    classifier, resolved = untrained(config, settings, store.classes)
    with tempfile.TemporaryDirectory() as state:
        weights = None if used is None else used.weights
        runs.fit(
            ClassifierTask(classifier, config), store, rows, training, settings, resolved, state, None, weights=weights
        )
    found: dict[str, Any] = {"faces": len(rows)}
    for split in ("val", "test"):
        confusion = classification_confusion(classifier, store, runs.labelled(store, split))
        per_class = dict(zip(store.classes, per_class_accuracy(confusion).tolist(), strict=True))
        found[split] = {"accuracy": accuracy(confusion), "macro_f1": macro_f1(confusion), "per_class": per_class}
    return found


def agreement(store: FaceStore, folder: Path, second: Path) -> dict[str, Any]:
    """How often a second list has the same label, of doubted and of other training faces."""
    scores = read_scores(folder, store)
    table = read_table(second, "Give a CSV with these columns.", ["id", "expression"], dtype=str, keep_default_na=False)
    others = scores.table["id"].map(dict(zip(table["id"], table["expression"], strict=True)))
    known = others.notna().to_numpy()
    same = (others == scores.table["expression"]).to_numpy()
    return {
        name: {"faces": int((known & own).sum()), "same": int(np.sum(same & known & own))}
        for name, own in (("doubted", scores.doubted), ("others", ~scores.doubted))
    }


if __name__ == "__main__":
    main()
