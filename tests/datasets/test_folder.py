from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.datasets import folder
from mimik.errors import UserError


def photo(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def by_folder(root: Path, each: int = 20) -> None:
    for position, name in enumerate(("smile", "frown")):
        for number in range(each):
            photo(root / name / f"{number}.png", 1000 * position + number)


def by_csv(root: Path, rows: list[tuple[str, ...]], header: str = "path,expression") -> dict[str, str]:
    lines = [header, *(",".join(row) for row in rows)]
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return {"csv": "labels.csv"}


def test_folders_name_the_classes_whatever_their_names(tmp_path: Path) -> None:
    by_folder(tmp_path)
    photo(tmp_path / "smile" / "holiday" / "x.PNG", 77)
    photo(tmp_path / "loose.png", 2)
    (tmp_path / "smile" / "broken.jpg").write_bytes(b"")
    (tmp_path / "smile" / "notes.txt").write_text("no image")
    photo(tmp_path / ".thumbnails" / "t.png", 3)
    photo(tmp_path / "smile" / "again.png", 0)  # the bytes of smile/0.png
    photo(tmp_path / "smile" / "a_clash.png", 50)
    photo(tmp_path / "frown" / "a_clash.png", 50)
    folder.check(tmp_path, {"classes": []}, None)
    listing = folder.index(tmp_path, {"classes": []}, 0)
    assert listing.quarantine == [
        ("frown/a_clash.png", "listing", "same bytes as smile/a_clash.png, with another label"),
        ("loose.png", "listing", "no label: not listed in the CSV, or in no class's folder"),
        ("smile/a_clash.png", "listing", "same bytes as frown/a_clash.png, with another label"),
        ("smile/again.png", "listing", "same bytes as smile/0.png"),
        ("smile/broken.jpg", "listing", "an empty file"),
    ]
    table = listing.table
    assert len(table) == 41
    assert (table["expression"] == table["source"].str.split("/").str[0]).all()
    assert set(table["identity"]) == {""}
    assert table["id"].is_unique
    assert table["id"].str.fullmatch(r"[A-Za-z0-9_.-]+").all()
    counts = table.groupby(["expression", "split"]).size()
    for expression, total in (("smile", 21), ("frown", 20)):
        assert counts[expression, "val"] == counts[expression, "test"] == 2
        assert counts[expression, "train"] == total - 4


def test_ids_do_not_depend_on_other_images_or_the_place(tmp_path: Path) -> None:
    by_folder(tmp_path / "a", each=10)
    by_folder(tmp_path / "b", each=20)
    few = set(folder.index(tmp_path / "a", {}, 0).table["id"])
    many = folder.index(tmp_path / "nowhere", {"path": str(tmp_path / "b")}, 0).table
    assert few < set(many["id"])
    assert all(Path(source).is_absolute() and Path(source).is_file() for source in many["source"])


def test_same_stem_in_two_places_gives_two_ids(tmp_path: Path) -> None:
    by_folder(tmp_path)
    for number, name in enumerate(("smile/a b.jpg", "smile/a_b.jpg", "smile/a b.png", "smile/ä.png")):
        photo(tmp_path / name, 500 + number)
    table = folder.index(tmp_path, {}, 0).table
    assert len(table) == 44
    assert table["id"].is_unique
    assert table["id"].map(str.isascii).all()


def test_classes_option_selects_and_refuses_absent_names(tmp_path: Path) -> None:
    by_folder(tmp_path)
    photo(tmp_path / "wink" / "w.png", 7)
    listing = folder.index(tmp_path, {"classes": ["smile", "frown"]}, 0)
    assert listing.quarantine == [("wink/w.png", "selection", "class wink is not among `classes`")]
    with pytest.raises(UserError, match="no image of the class 'smiling'") as caught:
        folder.check(tmp_path, {"classes": ["smiling", "frown"]}, None)
    assert "found frown, smile, wink" in str(caught.value)


def test_csv_labels_persons_and_faults(tmp_path: Path) -> None:
    rows = []
    for number in range(60):
        photo(tmp_path / "in" / f"{number}.png", number)
        rows.append((f"in/{number}.png", ("smile", "frown")[number % 2], f"person {number // 4}"))
    photo(tmp_path / "unlisted.png", 100)
    photo(tmp_path / "clash.png", 101)
    photo(tmp_path / "blank.png", 102)
    rows += [
        ("in/0.png", "smile", "person 0"),
        ("./in//1.png", "frown", "person 0"),
        ("clash.png", "smile", "x"),
        ("clash.png", "frown", "x"),
        ("blank.png", "", "x"),
        ("absent.png", "smile", "x"),
        ("../outside.png", "smile", "x"),
        ("/etc/passwd.png", "smile", "x"),
    ]
    options = by_csv(tmp_path, rows, "path,expression,identity")
    folder.check(tmp_path, options, None)
    listing = folder.index(tmp_path, options, 0)
    reasons = {path: reason for path, _, reason in listing.quarantine}
    assert reasons == {
        "../outside.png": "listed with a path that is not below the images' folder",
        "/etc/passwd.png": "listed with a path that is not below the images' folder",
        "absent.png": "listed, but there is no such image",
        "blank.png": "listed without an expression",
        "clash.png": "listed twice with different labels, persons or splits",
        "unlisted.png": "no label: not listed in the CSV, or in no class's folder",
    }
    assert len(listing.table) == 60
    assert (listing.table.groupby("identity")["split"].nunique() == 1).all()
    assert listing.table["identity"].nunique() == 15


def test_split_and_landmarks_of_the_csv_are_kept(tmp_path: Path) -> None:
    rows = []
    for number in range(12):
        photo(tmp_path / f"{number}.jpg", number)
        split = ("train", "val", "test")[number % 3]
        rows.append((f"{number}.jpg", ("smile", "frown")[number % 2], split, f"{number};2"))
    options = by_csv(tmp_path, rows, "path,expression,split,landmarks")
    table = folder.index(tmp_path, options, 0).table
    found = zip(table["source"], table["expression"], table["split"], table["landmarks"], strict=True)
    assert sorted(found) == sorted(rows)
    rows[3] = (*rows[3][:2], "valid", "")
    with pytest.raises(UserError, match="'valid' is not a split"):
        folder.check(tmp_path, by_csv(tmp_path, rows, "path,expression,split,landmarks"), None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"classes": ["smile"]}, "at least two"),
        ({"classes": ["smile", "smile"]}, "different"),
        ({"csv": "absent.csv"}, "absent.csv: no such file"),
        ({"path": "/nowhere/at/all"}, "/nowhere/at/all: no such folder"),
        ({"split": {"train": 1.0}}, "datasets.folder.split"),
    ],
)
def test_unusable_options_fail_in_check(tmp_path: Path, options: Mapping[str, object], told: str) -> None:
    by_folder(tmp_path)
    with pytest.raises(UserError, match=told):
        folder.check(tmp_path, options, None)


def test_missing_folder_one_class_and_two_spellings_fail_in_check(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data/raw/folder/<class>"):
        folder.check(tmp_path / "folder", {}, None)
    photo(tmp_path / "smile" / "a.png", 1)
    with pytest.raises(UserError, match="at least two classes are needed; found smile"):
        folder.fetch(tmp_path, {}, None)
    photo(tmp_path / "Smile" / "b.png", 2)
    with pytest.raises(UserError, match="Smile, smile differ only in capitalisation"):
        folder.check(tmp_path, {}, None)


def test_too_few_images_for_three_splits_are_named(tmp_path: Path) -> None:
    by_folder(tmp_path, each=2)
    with pytest.raises(UserError, match="train 4, val 0, test 0"):
        folder.index(tmp_path, {}, 0)
    by_folder(tmp_path, each=5)
    counts = folder.index(tmp_path, {}, 0).table.groupby(["expression", "split"]).size()
    assert dict(counts) == {
        (expression, split): count
        for expression in ("smile", "frown")
        for split, count in (("train", 3), ("val", 1), ("test", 1))
    }
