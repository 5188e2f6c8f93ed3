from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimik.errors import UserError
from mimik.faces.prepared.rendered import luminance
from mimik.faces.prepared.store import FaceStore, store_digest
from mimik.labels import ACTION_UNITS
from mimik.storage.files import digest, write_json
from tests.tiny import make_store

TABLE = pd.DataFrame(
    {
        "id": ["0001", "2", "nan", "4"],
        "split": ["train", "test", "train", "train"],
        "source": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
        "expression": ["anger", "neutral", "", "fear"],
        "identity": ["NA", "", "007", "None"],
        **{name: [0.1 * position, 0.2, 1 / 3, 0.0] for position, name in enumerate(ACTION_UNITS)},
    }
)


def store(folder: Path, size: int = 4, table: pd.DataFrame = TABLE) -> Path:
    """A small prepared dataset: image i is filled with i."""
    rows = len(table)
    table.to_csv(folder / "index.csv", index=False)
    write_json(
        folder / "manifest.json", {"sizes": [size, 8], "classes": ["neutral", "happiness", "anger"], "digest": "d1g"}
    )
    images = np.broadcast_to(np.arange(rows, dtype=np.uint8)[:, None, None, None], (rows, size, size, 3))
    np.save(folder / f"images_{size}.npy", images)
    np.save(folder / f"masks_{size}.npy", images[..., 0])
    np.save(folder / "landmarks.npy", np.full((rows, 68, 2), 0.25, np.float32))
    return folder


def test_columns_that_look_like_numbers_or_gaps_stay_texts(tmp_path: Path) -> None:
    opened = FaceStore(store(tmp_path), 4)
    for column in ("id", "split", "source", "expression", "identity"):
        assert list(opened.table[column]) == list(TABLE[column])
    assert len(opened) == 4
    assert opened.digest == "d1g"


def test_labels_are_positions_in_classes_and_minus_one_where_unknown(tmp_path: Path) -> None:
    labels = FaceStore(store(tmp_path), 4).labels()
    # fear is no class of this dataset, and the third face has no label.
    np.testing.assert_array_equal(labels, [2, 0, -1, -1])
    assert labels.dtype == np.int64


def test_rows_of_a_split_are_ascending_and_an_empty_split_is_an_error(tmp_path: Path) -> None:
    opened = FaceStore(store(tmp_path), 4)
    np.testing.assert_array_equal(opened.rows("train"), [0, 2, 3])
    np.testing.assert_array_equal(opened.rows("test"), [1])
    with pytest.raises(UserError, match="no face is in the split 'val'") as caught:
        opened.rows("val")
    assert str(tmp_path) in str(caught.value)


def test_arrays_are_mapped_not_read(tmp_path: Path) -> None:
    opened = FaceStore(store(tmp_path), 4)
    assert isinstance(opened.images, np.memmap)
    assert isinstance(opened.masks, np.memmap)
    assert opened.images.shape == (4, 4, 4, 3)
    assert (opened.images[2] == 2).all()
    with pytest.raises(ValueError, match="read-only"):
        opened.images[0] = 1
    assert opened.depth is None
    assert opened.normals is None


def test_landmarks_come_in_pixels(tmp_path: Path) -> None:
    opened = FaceStore(store(tmp_path, size=4), 4)
    assert opened.landmarks is not None
    np.testing.assert_array_equal(opened.landmarks, np.full((4, 68, 2), 1.0, np.float32))  # a quarter of 4 px


def test_action_units_stand_in_the_order_of_the_table_of_labels(tmp_path: Path) -> None:
    shuffled = TABLE[[*TABLE.columns[:5], *reversed(ACTION_UNITS)]]
    units = FaceStore(store(tmp_path, table=shuffled), 4).action_units()
    assert units is not None
    assert units.dtype == np.float32
    np.testing.assert_allclose(units[0], np.arange(17) * 0.1, rtol=1e-6)
    np.testing.assert_array_equal(units[2], np.full(17, 1 / 3, np.float32))


def test_without_all_action_units_there_are_none(tmp_path: Path) -> None:
    assert FaceStore(store(tmp_path, table=TABLE.drop(columns="AU45")), 4).action_units() is None


def test_size_that_was_not_prepared_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"prepared at \[4, 8\] px, but 16 px is needed"):
        FaceStore(store(tmp_path), 16)


def test_missing_images_and_arrays_of_another_length_are_named(tmp_path: Path) -> None:
    store(tmp_path)
    with pytest.raises(UserError, match=r"images_8\.npy: missing"):
        FaceStore(tmp_path, 8)
    np.save(tmp_path / "masks_4.npy", np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(UserError, match=r"masks_4\.npy: holds 3 rows, but index\.csv lists 4"):
        FaceStore(tmp_path, 4)


def test_true_targets_belong_to_the_test_rows(tmp_path: Path) -> None:
    folder = store(tmp_path, table=TABLE.assign(split=["test", "train", "test", "test"]))
    assert FaceStore(folder, 4).truth is None and FaceStore(folder, 4).truth_action_units is None
    np.save(folder / "truth_4.npy", np.zeros((3, 3, 4, 4, 3), np.uint8))
    opened = FaceStore(folder, 4)
    assert isinstance(opened.truth, np.memmap)
    assert opened.truth_positions(np.array([3, 0, 2])).tolist() == [2, 0, 1]
    for wrong in (1, 4):
        with pytest.raises(ValueError, match="not all of the rows"):
            opened.truth_positions(np.array([0, wrong]))
    for shape in ((4, 3), (3, 2)):
        np.save(folder / "truth_4.npy", np.zeros((*shape, 4, 4, 3), np.uint8))
        with pytest.raises(UserError, match=r"truth_4\.npy: holds .* list \(3, 3\) for the split 'test'"):
            FaceStore(folder, 4)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    store(tmp_path)
    np.save(tmp_path / "depth_4.npy", np.array([{}, {}, {}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"depth_4\.npy: expected an array .* Python objects"):
        FaceStore(tmp_path, 4)


def test_folder_that_was_not_prepared_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.json: no such file"):
        FaceStore(tmp_path, 4)


def test_digest_follows_table_and_parameters() -> None:
    first = store_digest(TABLE, {"sizes": [64]})
    assert first == store_digest(TABLE.copy(), {"sizes": [64]})
    assert first != store_digest(TABLE, {"sizes": [128]})
    relabelled = TABLE.assign(expression=["anger", "neutral", "", "anger"])
    assert first != store_digest(relabelled, {"sizes": [64]})
    assert first != store_digest(TABLE.iloc[::-1], {"sizes": [64]})


@pytest.mark.parametrize("at_once", [1, 2, 10])
@pytest.mark.parametrize("rows", [0, 3])
def test_digest_does_not_depend_on_how_the_table_is_cut(
    at_once: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pd.DataFrame({"id": ['ä"x,\n\\', "b", "c\u2028"], "yaw": [1.5, 2.0, float("nan")]}).iloc[:rows]
    parameters = {"z": 1, "options": [1, "ü"]}
    monkeypatch.setattr("mimik.faces.prepared.store.ROWS_AT_ONCE", at_once)
    assert store_digest(table, parameters) == digest({"table": table.to_csv(index=False), "parameters": parameters})


def test_training_rows_hold_every_class_or_none_is_trained_without(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no face of the class 'neutral' is in the split 'train' \(neutral 0, happin"):
        FaceStore(store(tmp_path), 4).training_rows()
    whole = TABLE.assign(expression=["anger", "happiness", "neutral", "happiness"])
    np.testing.assert_array_equal(FaceStore(store(tmp_path, table=whole), 4).training_rows(), [0, 2, 3])
    unlabelled = TABLE.assign(expression="")  # who reads no label needs none
    np.testing.assert_array_equal(FaceStore(store(tmp_path, table=unlabelled), 4).training_rows(), [0, 2, 3])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("manifest.json", "[]", "the whole file: expected a group, the manifest.json of a prepared dataset"),
        ("manifest.json", '{"sizes": "4", "classes": [], "digest": "d"}', "sizes: expected a list of sides in pixels"),
        ("manifest.json", '{"sizes": [4]}', "lacks `classes`, `digest`"),
        ("index.csv", "", "expected a table"),
        ("index.csv", "id,split\n1\n1,2,3,4\n", "expected a table"),
        ("index.csv", "id,split\n1,test\n", "lacks the columns"),
        ("images_4.npy", "hello", "expected an array in numpy's"),
    ],
)
def test_a_damaged_file_is_told_with_the_command_that_makes_it(
    tmp_path: Path, name: str, content: str, told: str
) -> None:
    store(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as caught:
        FaceStore(tmp_path, 4)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: ") and told in message and "mimik data prepare" in message


def test_an_array_of_something_else_is_told(tmp_path: Path) -> None:
    store(tmp_path)
    for array in (np.zeros((4, 4, 4, 1), np.uint8), np.zeros((4, 4, 4, 3)), np.array(4)):
        np.save(tmp_path / "images_4.npy", array)
        with pytest.raises(UserError, match=r"images_4\.npy: holds .*mimik data prepare"):
            FaceStore(tmp_path, 4)


def test_whether_pictures_are_grey_or_rendered_is_told(tmp_path: Path) -> None:
    store = make_store(tmp_path / "colour")
    assert store.kind_of_pictures() == {"grey": False, "rendered": False}
    store.manifest["source"] = "rendered"
    assert store.kind_of_pictures() == {"grey": False, "rendered": True}
    grey = luminance(np.asarray(store.images))
    grey[40:] = store.images[40:]  # validation and test faces do not count
    grey[..., 2] += (np.arange(16) % 2).astype(np.uint8)  # traces of colour, as JPEG leaves them
    store.images = grey
    assert store.kind_of_pictures()["grey"]
    grey[:2] = np.asarray(make_store(tmp_path / "other").images[:2])  # two of 32 in colour
    assert not store.kind_of_pictures()["grey"]
