import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mimik.datasets import affectnet
from mimik.datasets.affectnet import CSV_LAYOUT, NPY_LAYOUT
from mimik.errors import UserError
from mimik.labels import EXPRESSIONS
from tests.datasets.affectnet_world import IMAGES, POINTS, CsvRelease, NpyRelease, no_file
from tests.datasets.celeba_world import touch


def reasons(listing: affectnet.Listing) -> dict[str, tuple[str, str]]:
    entries = {path: (stage, reason) for path, stage, reason in listing.quarantine}
    assert len(entries) == len(listing.quarantine)
    assert not entries.keys() & set(listing.table["source"])
    return entries


def test_without_the_archive_the_error_says_what_to_obtain_where_and_where_to_put_it(tmp_path: Path) -> None:
    for step in (affectnet.check, affectnet.fetch):
        with pytest.raises(UserError, match="AffectNet was not found") as caught:
            step(tmp_path / "affectnet", {}, None)
        for needed in ("http://mohammadmahoor.com/affectnet/", "data/raw/affectnet/", *CSV_LAYOUT, *NPY_LAYOUT):
            assert needed in str(caught.value)
        assert str(tmp_path / "affectnet") in str(caught.value)
        assert "\n" not in str(caught.value)


def test_half_a_release_names_what_is_missing(tmp_path: Path) -> None:
    CsvRelease(tmp_path).write()
    affectnet.check(tmp_path, {}, None)
    (tmp_path / CSV_LAYOUT[2]).unlink()
    with pytest.raises(UserError, match=r"csv release Manually_Annotated_file_lists/validation\.csv is missing"):
        affectnet.check(tmp_path, {}, None)


def test_both_releases_at_once_are_refused(tmp_path: Path) -> None:
    CsvRelease(tmp_path).write()
    NpyRelease(tmp_path)
    with pytest.raises(UserError, match="both releases"):
        affectnet.check(tmp_path, {}, None)


def test_csv_release_with_every_planted_fault(tmp_path: Path) -> None:
    release = CsvRelease(tmp_path)
    release.add("training", "0/none.jpg", 8)
    release.add("training", "0/uncertain.jpg", 9)
    release.add("training", "0/nonface.jpg", 10)
    release.add("training", "0/eleven.jpg", 11)
    release.add("training", "0/nocode.jpg", "")
    release.add("training", "0/nobox.jpg", 1, width=-4)
    release.add("training", "0/gone.jpg", 1, photo=no_file)
    for code in (1, 2):
        release.add("training", "0/clash.jpg", code)
        release.add(("training", "validation")[code - 1], "0/acrossclash.jpg", code)
        release.add("training", "0/twice.jpg", 5)
    release.add("training", "0/inboth.jpg", 4)
    release.add("validation", "0/inboth.jpg", 4)
    release.add("training", "0/moving.gif", 4)
    touch(tmp_path / IMAGES / "0/unlisted.png")
    listing = affectnet.index(release.write(), {}, 0)
    assert reasons(listing) == {
        f"{IMAGES}/0/none.jpg": ("selection", "labelled none: no expression"),
        f"{IMAGES}/0/uncertain.jpg": ("selection", "labelled uncertain: no expression"),
        f"{IMAGES}/0/nonface.jpg": ("selection", "labelled non-face: no expression"),
        f"{IMAGES}/0/eleven.jpg": ("listing", "unknown code '11'"),
        f"{IMAGES}/0/nocode.jpg": ("listing", "unknown code ''"),
        f"{IMAGES}/0/nobox.jpg": ("listing", "listed without a face box"),
        f"{IMAGES}/0/gone.jpg": ("listing", "listed, but there is no such file"),
        f"{IMAGES}/0/clash.jpg": ("listing", "listed with different codes: 1, 2"),
        f"{IMAGES}/0/acrossclash.jpg": ("listing", "listed with different codes: 1, 2"),
        f"{IMAGES}/0/unlisted.png": ("listing", "in neither list"),
    }
    table = listing.table.set_index("source")
    assert len(table) == 8 * 23 + 3
    assert table["id"].is_unique
    assert table.loc[f"{IMAGES}/0/twice.jpg", "expression"] == "disgust"
    assert table.loc[f"{IMAGES}/0/inboth.jpg", "split"] == "test"
    assert table.loc[f"{IMAGES}/0/moving.gif", "expression"] == "fear"
    for code, expression in enumerate(EXPRESSIONS):
        assert table.loc[f"{IMAGES}/0/train{code}00.jpg", "expression"] == expression
        assert table.loc[f"{IMAGES}/9/val{code}0.JPG", "split"] == "test"
    assert set(table["identity"]) == {""}
    assert "landmarks" not in table


def test_lists_without_a_header_are_read_whole(tmp_path: Path) -> None:
    release = CsvRelease(tmp_path)
    for lines in release.lists.values():
        del lines[0]
    assert len(affectnet.index(release.write(), {}, 0).table) == 8 * 23


def test_npy_release_with_every_planted_fault(tmp_path: Path) -> None:
    release = NpyRelease(tmp_path)
    touch(tmp_path / "train_set/images/77701.jpg")
    release.annotate("val_set", "77702_exp", np.array("1"))
    release.add("train_set", "77703", 8)
    release.add("train_set", "77704", "happy")
    release.add("train_set", "77705", 0)
    with (tmp_path / "train_set/annotations/77705_exp.npy").open("wb") as opened:
        np.save(opened, np.array({"code": 1}, dtype=object), allow_pickle=True)
    release.add("train_set", "77706", 0)
    (tmp_path / "train_set/annotations/77706_exp.npy").write_bytes(pickle.dumps(1))
    release.add("train_set", "77707", 0)
    (tmp_path / "train_set/annotations/77707_exp.npy").write_bytes(b"")
    release.add("train_set", "77708", 0)
    release.annotate("train_set", "77708_exp", np.array(6))  # a number, as in other copies
    listing = affectnet.index(tmp_path, {}, 0)
    assert reasons(listing) == {
        "train_set/images/77701.jpg": ("listing", "no annotation train_set/annotations/77701_exp.npy"),
        "val_set/images/77702.jpg": ("listing", "annotated, but there is no such file"),
        "train_set/images/77703.jpg": ("selection", "labelled none: no expression"),
        "train_set/images/77704.jpg": ("listing", "unknown code 'happy'"),
        **{
            f"train_set/images/{stem}.jpg": (
                "listing",
                f"unreadable annotation train_set/annotations/{stem}_exp.npy",
            )
            for stem in (77705, 77706, 77707)
        },
    }
    table = listing.table.set_index("id")
    assert len(table) == 8 * 23 + 1
    assert table.loc["train_77708", "expression"] == "anger"
    # The same number in both sets is two images.
    assert table.loc["train_3003", "source"] == "train_set/images/3003.jpg"
    assert table.loc["val_3003", "source"] == "val_set/images/3003.jpg"
    assert table.loc["val_3003", "expression"] == "surprise"
    assert (table["split"][table.index.str.startswith("val_")] == "test").all()
    assert set(table["split"][table.index.str.startswith("train_")]) == {"train", "val"}


def test_balanced_set_fills_classes_from_usable_images_and_depends_on_the_seed(tmp_path: Path) -> None:
    release = NpyRelease(tmp_path)
    for number in range(60, 120, 3):  # 20 more of happiness, all unusable
        touch(tmp_path / f"train_set/images/{1000 + number}.jpg")
        release.annotate("train_set", f"{1000 + number}_exp", np.array("9"))
    for number in range(15, 20):  # contempt: 15 remain, fewer than the cap
        (tmp_path / f"train_set/images/{7000 + 3 * number}.jpg").unlink()
    options = {"per_class": 18, "held_out": 0.25}
    listing = affectnet.index(tmp_path, options, 0)
    counts = listing.table.groupby(["expression", "split"]).size().unstack()
    for expression in EXPRESSIONS:
        total = 15 if expression == "contempt" else 18
        assert counts.loc[expression, "val"] == 4  # round(0.25 * 18) = round(0.25 * 15) = 4
        assert counts.loc[expression, "train"] == total - 4
        assert counts.loc[expression, "test"] == 3
    above = [reason for _, reason in reasons(listing).values() if "per_class" in reason]
    assert len(above) == 7 * 2
    assert listing.table.equals(affectnet.index(tmp_path, options, 0).table)
    other = affectnet.index(tmp_path, options, 1).table
    assert set(other["id"]) != set(listing.table["id"])
    # The cap holds for the validation set too.
    assert (affectnet.index(tmp_path, {"per_class": 2}, 0).table["split"] == "test").sum() == 16


def test_a_sample_is_drawn_from_the_training_set_whatever_the_class(tmp_path: Path) -> None:
    NpyRelease(tmp_path)
    listing = affectnet.index(tmp_path, {"sample": 50}, 0)
    splits = listing.table["split"].value_counts()
    assert splits["train"] + splits["val"] == 50
    assert splits["test"] == 24  # the validation set is not drawn from
    assert {reason for _, reason in reasons(listing).values()} == {"beyond the 50 images that `sample` keeps"}
    assert len(listing.quarantine) == 160 - 50
    assert listing.table.equals(affectnet.index(tmp_path, {"sample": 50}, 0).table)
    other = affectnet.index(tmp_path, {"sample": 50}, 1).table
    assert set(other["id"]) != set(listing.table["id"])
    both = affectnet.index(tmp_path, {"sample": 20, "per_class": 2}, 0).table
    assert (both["split"] != "test").sum() == 16
    assert len(affectnet.index(tmp_path, {"sample": 1000}, 0).quarantine) == 0


def test_totals_of_the_csv_release_count_rows_and_name_missing_files(tmp_path: Path) -> None:
    release = CsvRelease(tmp_path)
    release.add("training", "0/none.jpg", 8)
    release.add("training", "0/gone.jpg", 1, photo=no_file)
    listing = affectnet.index(release.write(), {}, 0)
    assert [str(total) for total in listing.totals] == [
        "161 of 287,651 training rows with an expression",
        "24 of 4,000 validation rows with an expression",
        f"185 of 186 listed files; missing: {IMAGES}/0/gone.jpg",
    ]
    assert listing.layout == "the csv release"


def test_classes_select(tmp_path: Path) -> None:
    NpyRelease(tmp_path)
    listing = affectnet.index(tmp_path, {"classes": ["neutral", "anger"]}, 0)
    assert set(listing.table["expression"]) == {"neutral", "anger"}
    assert len(listing.quarantine) == 6 * 23
    assert ("train_set/images/1000.jpg", "selection", "expression happiness is not among `classes`") in (
        listing.quarantine
    )


def test_precomputed_landmarks_of_either_release(tmp_path: Path) -> None:
    from mimik.faces.landmarks import parse_landmarks

    options = {"landmarks": "precomputed"}
    release = NpyRelease(tmp_path / "npy")
    (release.raw / "train_set/annotations/3000_lnd.npy").unlink()
    listing = affectnet.index(release.raw, options, 0)
    assert reasons(listing) == {
        "train_set/images/3000.jpg": (
            "listing",
            "missing or unreadable landmarks train_set/annotations/3000_lnd.npy",
        )
    }
    table = listing.table.set_index("id")
    expected = (np.arange(136) / 2 + 3003).reshape(68, 2)
    np.testing.assert_array_equal(parse_landmarks(table.loc["val_3003", "landmarks"]), expected)

    table = affectnet.index(CsvRelease(tmp_path / "csv").write(), options, 0).table
    assert set(table["landmarks"]) == {POINTS}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"per_class": 1}, "datasets.affectnet.per_class"),
        ({"per_class": True}, "datasets.affectnet.per_class"),
        ({"sample": 0}, "datasets.affectnet.sample"),
        ({"sample": 0, "name": "affectnet200k"}, "datasets.affectnet200k.sample"),
        ({"held_out": 0.0}, "datasets.affectnet.held_out"),
        ({"held_out": 1}, "datasets.affectnet.held_out"),
        ({"classes": ["neutral", "happy"]}, "datasets.affectnet.classes"),
    ],
)
def test_unusable_options_fail_in_check(tmp_path: Path, options: Mapping[str, object], told: str) -> None:
    NpyRelease(tmp_path, each=1)
    with pytest.raises(UserError, match=told):
        affectnet.check(tmp_path, options, None)
