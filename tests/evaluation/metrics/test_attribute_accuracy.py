"""A face has attribute i where channel i is bright, so that edits and the classifier's errors are written by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mimik.evaluation.measurements import Measurements
from mimik.evaluation.metrics import attribute_accuracy
from mimik.evaluation.metrics.attribute_accuracy import asked, hits, preserved
from mimik.evaluation.places import Extractor, Missing
from mimik.faces.prepared.store import FaceStore

NAMES = ("Young", "Bald", "Male")
OWN = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1]])
JUDGE = Extractor("bright", "a0", lambda images: {"logits": images.mean((2, 3))})


def paint(attributes: Any) -> np.ndarray:
    """uint8 (..., 16, 16, 3) of attributes (..., 3)."""
    levels = np.where(np.asarray(attributes, bool), 220, 20).astype(np.uint8)
    return np.broadcast_to(levels[..., None, None, :], (*levels.shape[:-1], 16, 16, 3)).copy()


def reversed_alone() -> np.ndarray:
    """bool (4, 3, 3): the attributes of each face with attribute t reversed."""
    return np.logical_xor(OWN[:, None].astype(bool), np.eye(3, dtype=bool))


def make(measure: Any, seen: Any, annotated: Any = OWN, **options: Any) -> Measurements:
    """Measurements of translations that show `seen` (4, 3, 3); index.csv says `annotated`, in another order."""
    made = measure(images=paint(OWN), translations=paint(seen), **{"classifier": JUDGE, "attributes": NAMES, **options})
    path = made.store.directory / "index.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in (2, 0, 1):
        table[f"attribute_{NAMES[column]}"] = np.asarray(annotated)[:, column]
    table.to_csv(path, index=False)
    made.store = FaceStore(made.store.directory, made.store.size)
    return made


def test_perfect_edits(measure) -> None:
    entries = attribute_accuracy.compute(make(measure, reversed_alone()))
    assert set(entries) == set(attribute_accuracy.NAMES)
    assert entries["attribute_accuracy"]["value"] == entries["attribute_preservation"]["value"] == 1.0
    assert entries["attribute_accuracy"]["ci"] == [1.0, 1.0]
    assert (entries["attribute_accuracy"]["n"], entries["attribute_accuracy"]["extractor"]) == (12, "bright")
    assert entries["attribute_accuracy_copy"]["value"] == 0.0
    assert entries["attribute_classifier_accuracy"]["value"] == 1.0
    assert entries["attribute_classifier_accuracy"]["n"] == 4


def test_edits_by_hand(measure) -> None:
    seen = reversed_alone()
    seen[0, 1, 1] = OWN[0, 1]  # one edit of Bald does nothing
    seen[2, 0, 1:] = ~seen[2, 0, 1:]  # one of Young changes both others
    seen[3, 2, 0] = ~seen[3, 2, 0]  # one of Male makes young too
    entries = attribute_accuracy.compute(make(measure, seen))
    shares = entries["attribute_accuracy_per_attribute"]
    assert shares["value"] == {"Young": 1.0, "Bald": 0.75, "Male": 1.0}
    assert set(shares["ci"]) == set(NAMES)
    assert entries["attribute_accuracy"]["value"] == pytest.approx((1 + 0.75 + 1) / 3)
    kept = entries["attribute_preservation_per_attribute"]["value"]
    assert kept == {"Young": 0.75, "Bald": 1.0, "Male": 0.875}
    assert entries["attribute_preservation"]["value"] == pytest.approx((0.75 + 1 + 0.875) / 3)


def test_the_annotation_is_reversed_and_not_the_classifiers_reading(measure) -> None:
    annotated = OWN.copy()
    annotated[1, 0] = 1  # the classifier misses that this face is young
    entries = attribute_accuracy.compute(make(measure, np.repeat(OWN[:, None], 3, 1), annotated))
    # Unedited, it counts as reversed: that is what copies score.
    assert entries["attribute_accuracy"]["value"] == entries["attribute_accuracy_copy"]["value"]
    assert entries["attribute_accuracy"]["value"] == pytest.approx(1 / 12)
    assert entries["attribute_preservation"]["value"] == 1.0
    judge = entries["attribute_classifier_accuracy"]
    assert judge["value"] == pytest.approx(11 / 12)
    assert judge["per_attribute"] == {"Young": 0.75, "Bald": 1.0, "Male": 1.0}


def test_what_a_face_contributes_is_kept_for_paired_comparisons(measure) -> None:
    seen = reversed_alone()
    seen[0, 1, 1] = OWN[0, 1]
    faces = attribute_accuracy.compute(make(measure, seen))["attribute_accuracy"]["per_face"]
    assert faces.sums.tolist() == [[1, 0, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]]
    assert (faces.counts == 1).all()


def test_some_of_the_test_faces(measure) -> None:
    entries = attribute_accuracy.compute(make(measure, reversed_alone()[[3, 1]], rows=[3, 1]))
    assert entries["attribute_accuracy"]["value"] == 1.0 and entries["attribute_accuracy"]["n"] == 6
    assert entries["attribute_classifier_accuracy"]["n"] == 4


def test_one_attribute_alone_has_no_other(measure) -> None:
    seen = reversed_alone()[:, :1]
    one = Extractor("bright", "a1", lambda images: {"logits": images.mean((2, 3))[:, :1]})
    entries = attribute_accuracy.compute(make(measure, seen, attributes=NAMES[:1], classifier=one))
    assert entries["attribute_accuracy"]["value"] == 1.0
    assert "only one attribute" in entries["attribute_preservation"]["skipped"]


def test_methods_asked_for_expressions_are_skipped_with_the_reason(measure) -> None:
    entries = attribute_accuracy.compute(measure())
    assert set(entries) == set(attribute_accuracy.NAMES)
    assert all("edits expressions" in entry["skipped"] for entry in entries.values())


def test_without_classifier_it_says_what_to_do(measure) -> None:
    entries = attribute_accuracy.compute(make(measure, reversed_alone(), classifier=Missing("train one.")))
    assert entries == {name: {"skipped": "train one."} for name in attribute_accuracy.NAMES}


def test_better_edits_score_higher() -> None:
    own, wanted = OWN.astype(bool), reversed_alone()
    others = np.broadcast_to(~np.eye(3, dtype=bool), wanted.shape)
    every = np.repeat(~own[:, None], 3, 1)  # everything is reversed whatever was asked for
    assert hits(every, wanted).mean() == 1.0 > hits(np.repeat(own[:, None], 3, 1), wanted).mean() == 0.0
    assert preserved(every, own, others).mean() == 0.0 < preserved(wanted, own, others).mean() == 1.0
    assert attribute_accuracy.HIGHER_IS_BETTER["attribute_accuracy"] is True


HAIR = ("Black_Hair", "Blond_Hair", "Male")
HAIRED = np.array([[True, False, False], [False, True, True], [False, False, True], [True, False, True]])


def test_what_an_edit_asks_of_the_other_attributes() -> None:
    assert (asked(HAIRED, HAIR, "alone") == np.logical_xor(HAIRED[:, None], np.eye(3, dtype=bool))).all()
    exclusive, given = asked(HAIRED, HAIR, "exclusive"), asked(HAIRED, HAIR, "hair_colour")
    assert exclusive[1, 0].tolist() == given[1, 0].tolist() == [True, False, True]  # black now, and no longer blond
    assert exclusive[0, 0].tolist() == [False, False, False]  # black is taken away
    assert given[0, 0].tolist() == [True, False, False]  # black is given again
    assert exclusive[1, 2].tolist() == given[1, 2].tolist() == [False, True, False]


@pytest.mark.parametrize("reversal", ["exclusive", "hair_colour"])
def test_perfect_edits_whatever_they_ask_of_the_other_attributes(reversal, measure) -> None:
    perfect = asked(OWN.astype(bool), HAIR, reversal)
    made = measure(images=paint(OWN), translations=paint(perfect), classifier=JUDGE, attributes=HAIR, reversal=reversal)
    path = made.store.directory / "index.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column, name in enumerate(HAIR):
        table[f"attribute_{name}"] = OWN[:, column]
    table.to_csv(path, index=False)
    made.store = FaceStore(made.store.directory, made.store.size)
    entries = attribute_accuracy.compute(made)
    assert entries["attribute_accuracy"]["value"] == entries["attribute_preservation"]["value"] == 1.0
    # A colour that is taken away is neither kept nor lost: fewer than the two others count, wherever that happens.
    left = entries["attribute_preservation_per_attribute"]
    assert left["n"] == 12 and set(left["value"].values()) == {1.0}
    if reversal == "hair_colour":
        assert "whether the face has it or not" in entries["attribute_accuracy"]["protocol"]
        # An unedited face has the colour that is asked for already, in half of the edits of a colour.
        copied = entries["attribute_accuracy_copy"]["value"]
        assert copied == pytest.approx(OWN[:, :2].mean() * 2 / 3)
