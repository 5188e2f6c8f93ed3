"""Continuous edits: who is asked for what, in which states, and what the truth of it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mimik.components.conditions import Condition, ConditionConfig
from mimik.evaluation.continuous import (
    PAIRS,
    UNIT_FACES,
    changed_rows,
    draw_exemplars,
    draw_pairs,
    exemplars,
    single_units,
    strengths,
    unit_rows,
)
from mimik.faces.prepared.prepare import prepare
from mimik.faces.prepared.store import FaceStore
from mimik.labels import ACTION_UNITS
from tests.tiny import make_store

LEVELS = (0.0, 0.5, 1.0, 1.25)


class Recorder:
    """An edit that changes nothing and keeps what it was asked for."""

    def __call__(self, images: np.ndarray, source: Tensor, target: Tensor) -> np.ndarray:
        self.source, self.target = source, target
        return images


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    root = tmp_path_factory.mktemp("rendered")
    options = {
        "classes": ["neutral", "happiness", "anger"],
        "sizes": [16],
        "identities": {"train": 1, "val": 1, "test": 2},
    }
    prepare("synthetic", options, root, root / "store", seed=0, workers=1, mirror=None, work=root / "w", progress=False)
    return FaceStore(root / "store", 16)


def told_units(store: FaceStore, **config: Any) -> Condition:
    condition = Condition(ConditionConfig(space="action_units", **config), store.classes)
    condition.set_class_units(torch.full((len(store.classes), 17), 0.5))
    return condition


def test_every_expression_is_asked_for_and_no_face_for_its_own() -> None:
    labels = np.arange(40) % 5
    people = [f"p{face // 5}" for face in range(40)]
    faces, targets = draw_pairs(labels, people, 5, seed=0)
    assert targets.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert (labels[faces] != targets).all() and len(set(faces.tolist())) == PAIRS == 8
    assert len({people[face] for face in faces}) == 8 and np.bincount(labels[faces]).max() == 2
    again, _ = draw_pairs(labels, people, 5, seed=0)
    other, _ = draw_pairs(labels, people, 5, seed=1)
    assert again.tolist() == faces.tolist() != other.tolist()
    assert len(draw_pairs(np.full(3, -1), ["", "", ""], 12, seed=0)[0]) == 12


def test_what_every_face_shows_already_is_left_out() -> None:
    faces, targets = draw_pairs(np.ones(4, np.int64), ["a", "a", "b", "b"], 2, seed=0)
    assert targets.tolist() == [0] * 4 and sorted(faces.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("space", ["expression", "action_units"])
def test_strengths_are_shares_of_the_way_between_the_states(tmp_path: Path, space: Any) -> None:
    store, edit = make_store(tmp_path), Recorder()
    condition = told_units(store) if space == "action_units" else Condition(ConditionConfig(), store.classes)
    rows, labels = np.array([40, 41]), store.labels()[[40, 41]]
    made = strengths(edit, condition, store, rows, labels, np.array([2, 0]), LEVELS)
    assert made.shape == (1, 2, 4, 16, 16, 3) and made.dtype == np.uint8  # nobody knows the truth of these
    assert (made[0] == store.images[rows][:, None]).all()
    source, target = edit.source.reshape(2, 4, -1), edit.target.reshape(2, 4, -1)
    whole = condition.of_labels(torch.tensor([2, 0]))
    for step, level in enumerate(LEVELS):
        torch.testing.assert_close(target[:, step], (1 - level) * source[:, step] + level * whole)
    if space == "action_units":
        measured = store.action_units()
        assert measured is not None
        np.testing.assert_array_equal(source[:, 0], measured[rows])


def test_the_truth_of_a_strength_lies_between_the_face_and_its_true_target(rendered: FaceStore) -> None:
    rows = rendered.rows("test")[:3]
    labels = rendered.labels()[rows]
    targets = (labels + 1) % 3
    made = strengths(Recorder(), told_units(rendered), rendered, rows, labels, targets, LEVELS)
    assert made.shape == (2, 3, 4, 16, 16, 3)
    truth = made[1].astype(float)
    assert rendered.truth is not None
    ends = rendered.images[rows].astype(float), rendered.truth[rendered.truth_positions(rows), targets].astype(float)
    # Stored units are float32, which may turn a level at its edge.
    assert np.abs(truth[:, 0] - ends[0]).max() <= 1 and np.abs(truth[:, 2] - ends[1]).max() <= 1

    def distance(images: np.ndarray) -> np.ndarray:
        return np.abs(images - ends[0]).mean((1, 2, 3))

    assert (distance(truth[:, 1]) > 0).all() and (distance(truth[:, 1]) < distance(truth[:, 2])).all()


def test_a_unit_is_set_and_the_others_stay(rendered: FaceStore) -> None:
    edit, condition = Recorder(), told_units(rendered, names=("AU12", "AU04", "AU01"))
    rows, levels = rendered.rows("test")[1:3], (0.0, 1.0)
    made = single_units(edit, condition, rendered, rows, ("AU04", "AU12"), levels)
    assert made.shape == (2, 2, 2, 2, 16, 16, 3)
    measured = rendered.table[["AU12", "AU04", "AU01"]].to_numpy(np.float32)[rows]
    target = edit.target.reshape(2, 2, 2, 3).numpy()
    for face in range(2):
        for level, wanted in enumerate(levels):
            own = measured[face]
            np.testing.assert_allclose(target[face, 0, level], [own[0], wanted, own[2]], atol=1e-6)
            np.testing.assert_allclose(target[face, 1, level], [wanted, own[1], own[2]], atol=1e-6)

    from mimik.datasets import synthetic

    table = rendered.table.iloc[rows].copy()
    table["AU12"] = 1.0
    expected = synthetic.render(table, 16, ("images",)).images
    assert expected is not None and np.abs(made[1, :, 1, 1].astype(int) - expected.astype(int)).max() <= 1


def test_a_unit_is_changed_downwards_too(rendered: FaceStore) -> None:
    """The state that is asked for passes 0 and 1; no face can."""
    edit, condition = Recorder(), told_units(rendered, names=("AU12", "AU04"))
    rows, levels = rendered.rows("test")[1:3], (-1.0, 0.0, 0.5)
    made = single_units(edit, condition, rendered, rows, ("AU12",), levels, relative=True)
    measured = rendered.table[["AU12", "AU04"]].to_numpy(np.float32)[rows]
    expected = measured[:, None] + np.array([[[level, 0] for level in levels]])
    np.testing.assert_allclose(edit.target.reshape(2, 3, 2).numpy(), expected, atol=1e-6)

    from mimik.datasets import synthetic

    table = rendered.table.iloc[rows].copy()
    table["AU12"] = 0.0
    least = synthetic.render(table, 16, ("images",)).images
    assert least is not None and np.abs(made[1, :, 0, 0].astype(int) - least.astype(int)).max() <= 1
    assert np.abs(made[1, :, 0, 1].astype(int) - rendered.images[rows].astype(int)).max() <= 1


def test_units_are_changed_of_a_face_without_and_of_one_with_them(rendered: FaceStore) -> None:
    rows = rendered.rows("test")
    plain, strong = changed_rows(rendered, rows, ("AU06", "AU12"))  # of a smile
    assert rendered.table["expression"].iloc[[plain, strong]].tolist() == ["neutral", "happiness"]


def test_an_example_is_another_person_with_another_expression() -> None:
    labels, people = np.array([0, 1, 2, 0, 1, 2]), ["a", "a", "a", "b", "b", "b"]
    faces = np.array([0, 1, 2, 3, 4, 5])
    like = draw_exemplars(labels, people, faces, seed=0)
    assert all(
        people[one] != people[face] and labels[one] != labels[face] for face, one in zip(faces, like, strict=True)
    )
    assert len(set(like.tolist())) == 6  # each once
    assert draw_exemplars(labels, people, faces, seed=0).tolist() == like.tolist()
    alone = draw_exemplars(np.array([0, 0]), ["", ""], np.array([0, 1]), seed=0)
    assert alone.tolist() == [1, 0]  # whoever there is, but not the face itself


def test_a_face_gets_the_units_of_its_example(rendered: FaceStore) -> None:
    edit, condition = Recorder(), told_units(rendered, names=("AU12", "AU04"))
    rows = rendered.rows("test")
    face, like = rows[:2], rows[[4, 5]]
    made = exemplars(edit, condition, rendered, face, like)
    assert made.shape == (2, 2, 1, 16, 16, 3)
    units = rendered.table[["AU12", "AU04"]].to_numpy(np.float32)
    np.testing.assert_allclose(edit.source.numpy(), units[face])
    np.testing.assert_allclose(edit.target.numpy(), units[like])

    from mimik.datasets import synthetic

    table = rendered.table.iloc[face].reset_index(drop=True)
    given = rendered.table.iloc[like][list(ACTION_UNITS)].to_numpy(float)
    expected = synthetic.render(synthetic.with_action_units(table, given), 16, ("images",)).images
    assert expected is not None and (made[1, :, 0] == expected).all()


def test_units_are_edited_of_the_faces_that_show_least(rendered: FaceStore) -> None:
    rows = rendered.rows("test")
    chosen = unit_rows(rendered, np.concatenate([rows, rows]))
    assert len(chosen) == UNIT_FACES == 2
    assert set(rendered.table["expression"].iloc[chosen]) == {"neutral"}


def test_without_faces_there_are_no_pictures(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    made = single_units(Recorder(), told_units(store), store, np.empty(0, np.int64), [], LEVELS)
    assert made.shape == (1, 0, 0, 4, 16, 16, 3)
    none = np.empty(0, np.int64)
    assert exemplars(Recorder(), told_units(store), store, none, none).shape == (1, 0, 1, 16, 16, 3)


def test_faces_are_rendered_grey_where_the_dataset_is(rendered: FaceStore) -> None:
    from mimik.faces.prepared.rendered import with_units

    row, units = rendered.rows("test")[:1], np.full((1, len(ACTION_UNITS)), 0.5)
    colour = with_units(rendered, row, units)
    rendered.manifest["options"]["grey"] = True
    grey = with_units(rendered, row, units)
    rendered.manifest["options"]["grey"] = False
    assert colour is not None and grey is not None
    assert np.ptp(colour, axis=-1).max() > 0 and np.ptp(grey, axis=-1).max() == 0
