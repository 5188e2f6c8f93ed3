from pathlib import Path

import numpy as np
import pytest
import torch

from mimik.components.conditions import (
    Condition,
    ConditionConfig,
    class_means,
    part_way,
    stored_class_means,
    stored_states,
)
from mimik.labels import ACTION_UNITS, EXPRESSIONS
from tests.tiny import make_store

LABELS = {"label": torch.tensor([0, 2]), "target": torch.tensor([1, 2])}
UNITS = {"action_units": torch.rand(2, 17), "target_action_units": torch.rand(2, 17)}


def make(**config) -> Condition:
    return Condition(ConditionConfig(**config), EXPRESSIONS[:3], ("Bald", "Smiling", "Young"))


def test_labels_become_one_hot_and_their_difference() -> None:
    for form, expected in (("absolute", [[0, 1, 0], [0, 0, 1]]), ("relative", [[-1, 1, 0], [0, 0, 0]])):
        condition = make(form=form)
        source, target = condition.source(LABELS), condition.target(LABELS)
        assert condition.told(source, target).tolist() == expected
        assert condition.reads == {"label", "target"} and condition.dim == 3


def test_action_units_are_chosen_by_name_and_subtracted() -> None:
    condition = make(space="action_units", form="relative", names=("AU12", "AU01"))
    source, target = condition.source(UNITS), condition.target(UNITS)
    columns = [ACTION_UNITS.index("AU12"), 0]
    assert torch.equal(source, UNITS["action_units"][:, columns])
    assert torch.equal(
        condition.told(source, target), (UNITS["target_action_units"] - UNITS["action_units"])[:, columns]
    )
    assert torch.equal(condition.told(source, source), torch.zeros(2, 2))


def test_noise_is_bounded_and_only_where_it_is_asked_for() -> None:
    condition = make(space="action_units", target_noise=0.1)
    assert torch.equal(condition.source(UNITS), UNITS["action_units"])
    moved = (condition.target(UNITS) - UNITS["target_action_units"]).abs()
    assert 0 < moved.max() <= 0.1


def test_an_expression_by_name_means_its_mean_action_units_and_its_own_means_no_change() -> None:
    condition = make(space="action_units", names=("AU04", "AU12"))
    means = torch.rand(3, 17)
    condition.set_class_units(means)
    source, labels = torch.rand(3, 2), torch.tensor([0, 1, 2])
    asked = condition.asked(source, labels, torch.tensor([1, 1, 1]))
    column = ACTION_UNITS.index("AU12")
    assert torch.equal(asked[1], source[1])
    assert asked[0, 1] == asked[2, 1] == means[1, column]


def test_what_an_expression_means_travels_with_the_state() -> None:
    first, second = (make(space="action_units") for _ in range(2))
    first.set_class_units(torch.rand(3, 17))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.of_labels(torch.tensor([2])), second.of_labels(torch.tensor([2])))
    assert not make().state_dict()


def test_states_of_stored_faces(tmp_path: Path) -> None:
    store, rows = make_store(tmp_path), np.array([5, 0])
    expressions = Condition(ConditionConfig(), store.classes)
    assert stored_states(expressions, store, rows).argmax(1).tolist() == store.labels()[rows].tolist()
    units = Condition(ConditionConfig(space="action_units", names=("AU02",)), store.classes)
    measured = store.action_units()
    assert measured is not None
    assert stored_states(units, store, rows)[:, 0].tolist() == measured[rows, 1].tolist()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"names": ("AU01",)}, "classes"),
        ({"space": "action_units", "names": ("AU99",)}, "AU99"),
        ({"space": "attributes", "source_noise": 0.1}, "noise"),
        ({"space": "attributes", "names": ("Bald", "Bald")}, "distinct"),
        ({"space": "attributes", "names": ("Blond",)}, "this dataset has"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(config, message) -> None:
    with pytest.raises(ValueError, match=message):
        make(**config)


def test_class_means_leave_out_unknown_labels() -> None:
    units = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
    means = class_means(units, torch.tensor([1, 0, 1, -1]), ["neutral", "anger"])
    assert means.tolist() == [[1.0, 0.0], [0.25, 0.75]]
    assert means.dtype == torch.float32


def test_stored_class_means_are_of_training_faces_with_known_units(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    table = store.table
    chosen = (table["split"] == "train") & (table["expression"] == store.classes[1])
    first = table.index[chosen][0]
    table.loc[first, "AU12"] = np.nan
    means = stored_class_means(store)
    assert means is not None
    expected = table.loc[chosen & (table.index != first), list(ACTION_UNITS)].to_numpy().mean(0)
    np.testing.assert_allclose(means[1].numpy(), expected, rtol=1e-5)
    store.table = table.drop(columns="AU01")
    assert stored_class_means(store) is None


def test_class_means_name_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="anger"):
        class_means(torch.zeros(2, 17), torch.tensor([0, -1]), ["neutral", "anger"])
    with pytest.raises(ValueError, match="do not fit"):
        class_means(torch.zeros(2, 17), torch.tensor([0]), ["neutral"])


def test_part_of_the_way_is_linear_and_goes_beyond_the_target() -> None:
    source, target = torch.rand(3, 17), torch.rand(3, 17)
    assert torch.equal(part_way(source, target, 0), source) and torch.allclose(part_way(source, target, 1), target)
    for strength in (0.25, 1.25):
        way = part_way(source, target, strength)
        assert torch.allclose(way, (1 - strength) * source + strength * target, atol=1e-6)
    with pytest.raises(ValueError, match="cannot interpolate"):
        part_way(source, target[:2], 0.5)


def test_changes_of_single_units_find_their_entries() -> None:
    condition = make(space="action_units", names=("AU12", "AU04"))
    assert condition.change({"AU04": -0.5}).tolist() == [0, -0.5]
    assert condition.change({}).tolist() == [0, 0]
    with pytest.raises(ValueError, match="AU01 is not among AU12, AU04"):
        condition.change({"AU01": 1})


def test_noise_is_uniform_on_both_sides_and_new_every_time() -> None:
    units = {"action_units": torch.full((400, 17), 0.5), "target_action_units": torch.full((400, 17), 0.25)}
    condition = make(space="action_units", source_noise=0.2, target_noise=0.1)
    for states, middle, width in ((condition.source(units), 0.5, 0.2), (condition.target(units), 0.25, 0.1)):
        away = states - middle
        assert -width <= float(away.min()) < -0.97 * width and 0.97 * width < float(away.max()) <= width
        assert abs(float(away.mean())) < 0.02 * width and abs(float(away.var()) / (width**2 / 3) - 1) < 0.1
    assert not torch.equal(condition.source(units), condition.source(units))


def test_a_batch_is_read_where_its_states_are() -> None:
    batch = {
        "label": torch.tensor([0, 2]), "target": torch.tensor([1, 0]), "action_units": torch.full((2, 17), 0.1),
        "target_action_units": torch.full((2, 17), 0.2), "attributes": torch.full((2, 3), 0.3),
        "target_attributes": torch.full((2, 3), 0.4),
    }  # fmt: skip
    for space, source, target in (("action_units", 0.1, 0.2), ("attributes", 0.3, 0.4)):
        condition = make(space=space)
        assert float(condition.source(batch)[0, 0]) == pytest.approx(source)
        assert float(condition.target(batch)[0, 0]) == pytest.approx(target)
        assert condition.reads == {space, f"target_{space}"}
    condition = make()
    assert condition.source(batch).argmax(1).tolist() == [0, 2] and condition.target(batch).argmax(1).tolist() == [1, 0]
    assert condition.source(batch).dtype == torch.float32


def test_names_and_sizes_of_every_space() -> None:
    assert make().edits == make().names == make().classes == tuple(EXPRESSIONS[:3])
    attributes = make(space="attributes", names=("Young", "Bald"))
    assert attributes.edits == ("Young", "Bald") and attributes.dim == 2 and attributes.columns.tolist() == [2, 0]
    units = make(space="action_units")
    assert units.names == tuple(ACTION_UNITS) and units.edits == tuple(EXPRESSIONS[:3]) and units.dim == 17
    assert units.class_units is not None and units.class_units.shape == (3, 17) and make().class_units is None
    assert make(space="attributes").names == ("Bald", "Smiling", "Young")
    with pytest.raises(ValueError, match="none"):
        Condition(ConditionConfig(space="attributes"), EXPRESSIONS[:3])


def test_an_attribute_is_reversed_alone() -> None:
    condition = make(space="attributes")
    source = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    asked = condition.asked(source, torch.tensor([-1, -1]), torch.tensor([0, 1]))
    assert asked.tolist() == [[0, 0, 1], [0, 1, 1]]
    with pytest.raises(ValueError, match="cannot edit expressions"):
        condition.of_labels(torch.tensor([0]))


def test_states_of_faces_measured_or_not() -> None:
    condition = make(space="action_units", names=("AU12", "AU01"))
    condition.set_class_units(torch.arange(51.0).view(3, 17))
    labels, measured = torch.tensor([2, 1]), torch.rand(2, 17, dtype=torch.float64)
    columns = [ACTION_UNITS.index("AU12"), ACTION_UNITS.index("AU01")]
    found = condition.of_faces(labels, measured)
    assert found.dtype == torch.float32 and torch.equal(found, measured[:, columns].float())
    assert condition.of_faces(labels, None)[:, 0].tolist() == [34 + columns[0], 17 + columns[0]]
    assert make().of_faces(labels, measured).argmax(1).tolist() == [2, 1]


@pytest.mark.parametrize(("noise", "fine"), [({"source_noise": -0.1}, False), ({"target_noise": -0.1}, False),
                                             ({"source_noise": 0.1}, True), ({"target_noise": 0.1}, True)])  # fmt: skip
def test_noise_is_for_action_units_and_never_negative(noise: dict[str, float], fine: bool) -> None:
    if fine:
        assert ConditionConfig(space="action_units", **noise)  # type: ignore[arg-type]
    else:
        with pytest.raises(ValueError, match="negative"):
            ConditionConfig(space="action_units", **noise)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"noise"):
        ConditionConfig(**noise)  # type: ignore[arg-type]
    usual = ConditionConfig()
    assert (usual.space, usual.form, usual.names) == ("expression", "absolute", ())
    assert usual.source_noise == usual.target_noise == 0


def test_states_of_stored_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, rows = make_store(tmp_path), np.array([5, 0])
    known = np.arange(len(store) * 3, dtype=np.float32).reshape(-1, 3)
    monkeypatch.setattr(store, "attributes", lambda: known)
    condition = Condition(
        ConditionConfig(space="attributes", names=("Young",)), store.classes, ("Bald", "Smiling", "Young")
    )
    assert stored_states(condition, store, rows)[:, 0].tolist() == [17, 2]
    monkeypatch.setattr(store, "action_units", lambda: None)
    units = Condition(ConditionConfig(space="action_units"), store.classes)
    units.set_class_units(torch.arange(68.0).view(4, 17))
    assert stored_states(units, store, rows)[:, 0].tolist() == [17, 0], "the means of their classes"


def test_a_state_has_an_entry_for_every_class_whichever_are_asked_for() -> None:
    assert make().of_labels(torch.tensor([0, 1])).tolist() == [[1, 0, 0], [0, 1, 0]]
