"""The short form of metrics.json, for DVC: what the method itself reached, one number each, and accuracy by target."""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

from mimik.evaluation.measurements import Entry
from mimik.storage.files import write_json, write_text

SCORES = "scores.json"

BY_TARGET = "by_target.csv"
"""Columns `target` and `accuracy`: the share of edits in which the evaluating classifier sees their target."""

REFERENCE = re.compile(r"copy_|.*_(copy|truth)$")
"""Entries on unedited inputs and on true targets: of the dataset, the same for every method."""

ACCURACIES = ("eea_per_class", "attribute_accuracy_per_attribute")


def write_scores(entries: Mapping[str, Entry], folder: Path) -> None:
    """Write `SCORES` and `BY_TARGET`.

    Args:
        entries: of metrics.json.
        folder: results/<dataset>/<method>.
    """
    write_json(folder / SCORES, scores(entries))
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["target", "accuracy"])
    writer.writerows(by_target(entries).items())
    write_text(folder / BY_TARGET, written.getvalue())


def scores(entries: Mapping[str, Entry]) -> dict[str, float]:
    """The entries of the translations that are one number, by name."""
    values = {name: entry.get("value") for name, entry in entries.items() if not REFERENCE.match(name)}
    return {name: value for name, value in values.items() if isinstance(value, float | int)}


def by_target(entries: Mapping[str, Entry]) -> dict[str, float]:
    """Accuracy by target: expression, or attribute that is reversed; empty where no classifier judged."""
    found: dict[str, float] = {}
    for name in ACCURACIES:
        found |= entries.get(name, {}).get("value", {})
    return found
