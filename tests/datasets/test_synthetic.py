"""The index, the options, identities and expressions of the synthetic dataset."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimik.datasets import synthetic
from mimik.datasets.listing import INDEX_COLUMNS
from mimik.errors import UserError
from mimik.labels import ACTION_UNITS, EXPRESSIONS

RAW = Path("unused")
OPTIONS = {"identities": {"train": 5, "val": 2, "test": 3}}


def listing(**options: object) -> pd.DataFrame:
    return synthetic.index(RAW, {**OPTIONS, **options}, seed=0).table


def test_every_person_shows_every_expression_in_one_split() -> None:
    table = listing(views_per_expression=2)
    assert len(table) == 10 * 8 * 2
    assert table["id"].is_unique
    assert set(INDEX_COLUMNS) <= set(table.columns)
    assert (table.groupby("identity")["split"].nunique() == 1).all()
    assert (table.groupby("identity_seed")["split"].nunique() == 1).all()
    assert table["identity_seed"].nunique() == 10
    assert table["view_seed"].is_unique
    assert table.groupby("split")["identity"].nunique().to_dict() == OPTIONS["identities"]
    assert (table.groupby(["identity", "expression"]).size() == 2).all()


def test_index_follows_the_seed() -> None:
    again = synthetic.index(RAW, OPTIONS, seed=0).table
    pd.testing.assert_frame_equal(listing(), again)
    other = synthetic.index(RAW, OPTIONS, seed=1).table
    assert not set(other["identity_seed"]) & set(again["identity_seed"])


def test_test_people_do_not_depend_on_the_number_of_training_people() -> None:
    small, large = listing(), listing(identities={"train": 9, "val": 2, "test": 3})
    columns = ["identity_seed", "view_seed", *ACTION_UNITS, "yaw"]
    of_test = [table.loc[table["split"] == "test", columns].reset_index(drop=True) for table in (small, large)]
    pd.testing.assert_frame_equal(of_test[0], of_test[1])


def test_test_people_that_have_been_seen_are_left_out() -> None:
    small, large = listing(first_test_person=2), listing(identities={"train": 5, "val": 2, "test": 5})
    passed_over = large["identity"].isin(["p00007", "p00008"])
    pd.testing.assert_frame_equal(small, large[~passed_over].reset_index(drop=True))
    assert small.groupby("split")["identity"].nunique().to_dict() == OPTIONS["identities"]


def test_another_light_shows_other_people_in_the_same_way() -> None:
    day, evening = listing(), listing(light="evening")
    assert "light" not in day and (evening["light"] == "evening").all()
    pd.testing.assert_frame_equal(day, listing(light="day"))
    assert not set(day["identity_seed"]) & set(evening["identity_seed"])
    assert not set(day["view_seed"]) & set(evening["view_seed"])
    shared = ["id", "split", "expression", "identity"]
    pd.testing.assert_frame_equal(day[shared], evening[shared])


def test_fewer_classes_leave_the_other_rows_as_they_are() -> None:
    some = listing(classes=["happiness", "anger"])
    assert set(some["expression"]) == {"happiness", "anger"}
    full = listing()
    full = full[full["expression"].isin(["happiness", "anger"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, full)


def test_index_survives_csv(tmp_path: Path) -> None:
    table = listing()
    table.to_csv(tmp_path / "index.csv", index=False)
    read = pd.read_csv(tmp_path / "index.csv", keep_default_na=False, float_precision="round_trip")
    pd.testing.assert_frame_equal(table, read, check_dtype=False)


@pytest.mark.parametrize(
    "options",
    [
        {"classes": ["happy", "sadness"]},
        {"classes": ["anger"]},
        {"classes": ["anger", "anger", "fear"]},
        {"identities": None},
        {"identities": {"train": 5, "val": 2}},
        {"identities": {"train": 5, "val": 2, "test": 0}},
        {"identities": {"train": 5.5, "val": 2, "test": 1}},
        {"views_per_expression": 0},
        {"views_per_expression": True},
        {"first_test_person": -1},
        {"light": "noon"},
    ],
)
def test_wrong_options_are_named(options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(UserError, match=rf"params\.yaml, datasets\.synthetic\.{name}"):
        synthetic.check(RAW, {**OPTIONS, **options}, None)


def test_good_options_pass() -> None:
    synthetic.check(RAW, {**OPTIONS, "classes": [], "sizes": [64]}, None)
    synthetic.fetch(RAW, OPTIONS, None)


def test_action_units_stay_near_the_prototype() -> None:
    table = listing(views_per_expression=4)
    units = table[list(ACTION_UNITS)].to_numpy()
    assert units.min() >= 0
    assert units.max() <= 1
    assert table["intensity"].between(0.65, 1).all()
    for expression in EXPRESSIONS:
        rows = (table["expression"] == expression).to_numpy()
        prototype = synthetic.prototype(expression)
        active = prototype > 0
        assert units[rows][:, ~active].mean() < 0.04
        mean = units[rows][:, active].mean(axis=0)
        np.testing.assert_allclose(mean, prototype[active] * synthetic.MEAN_INTENSITY, rtol=0.12)
    assert not synthetic.prototype("neutral").any()
    with pytest.raises(ValueError, match="happy"):
        synthetic.prototype("happy")


def test_truth_keeps_everything_but_the_expression() -> None:
    table = listing()
    truth = synthetic.with_expression(table, "surprise")
    kept = [column for column in table.columns if column not in {"expression", "intensity", *ACTION_UNITS}]
    pd.testing.assert_frame_equal(table[kept], truth[kept])
    np.testing.assert_allclose(
        truth[list(ACTION_UNITS)].to_numpy(),
        np.tile(synthetic.prototype("surprise") * synthetic.MEAN_INTENSITY, (len(table), 1)),
        rtol=1e-6,
    )
    assert set(truth["expression"]) == {"surprise"}
    assert set(synthetic.with_expression(table, "fear", 0.5)["AU05"]) == {0.5}
    assert set(table["expression"]) == set(EXPRESSIONS)


def test_action_units_of_the_wrong_shape_or_range_are_refused() -> None:
    table = listing()
    with pytest.raises(ValueError, match="shape"):
        synthetic.with_action_units(table, np.zeros((3, 17)))
    with pytest.raises(ValueError, match="0, 1"):
        synthetic.with_action_units(table, np.full((len(table), 17), 1.5))


def test_identity_descriptor_is_the_person_and_nothing_else() -> None:
    table = listing()
    described = synthetic.identity_descriptor(table)
    assert described.dtype == np.float32
    assert described.shape == (len(table), 45)
    for _, rows in table.reset_index(drop=True).groupby("identity").groups.items():
        assert (described[rows] == described[rows[0]]).all()
    assert len(np.unique(described, axis=0)) == 10
    shuffled = table.sample(frac=1, random_state=0)
    np.testing.assert_array_equal(synthetic.identity_descriptor(shuffled), described[shuffled.index])
    assert synthetic.identity_descriptor(table.iloc[:0]).shape == (0, 45)


def test_identity_descriptor_is_standardised() -> None:
    table = pd.DataFrame({"identity_seed": np.arange(1500)})
    described = synthetic.identity_descriptor(table)
    assert np.abs(described.mean(axis=0)).max() < 0.2
    assert described.std(axis=0).min() > 0.6
    assert described.std(axis=0).max() < 1.25
