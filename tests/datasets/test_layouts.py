"""Layouts and lists that are one level off, or written on another system: recognised, or refused with the nearest."""

import csv
import os
import shutil
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from mimik.datasets import affectnet, celeba, cfee, folder, open_faces, released_depth
from mimik.datasets.listing import SPLITS
from mimik.datasets.lists import Listed, composed, inside, read_list
from mimik.datasets.photographs import one_spelling
from mimik.datasets.tree import look
from mimik.errors import UserError
from mimik.faces.action_units import openface
from tests.datasets.affectnet_world import CsvRelease, NpyRelease
from tests.datasets.celeba_world import touch
from tests.datasets.test_tree import celeba_images, cfee_images, open_images, photo, reasons
from tests.faces.action_units.test_openface import face, table


def fill(root: Path, *folders: str, each: int = 10) -> None:
    for position, name in enumerate(folders):
        for number in range(each):
            photo(root / name / f"{number}.png", 1000 * (position + 1) + number)


# --- folders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["split first", "class first"])
@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation_set", "TEST")])
def test_folders_of_splits_are_kept_as_splits(tmp_path: Path, order: str, names: tuple[str, ...]) -> None:
    for name, count in zip(names, (6, 2, 3), strict=True):
        pairs = [(name, label) if order == "split first" else (label, name) for label in ("smile", "frown")]
        for position, pair in enumerate(pairs):
            for number in range(count):
                photo(tmp_path.joinpath(*pair, f"{number}.png"), 100 * (names.index(name) * 2 + position) + number)
    folder.check(tmp_path, {}, None)
    listing = folder.index(tmp_path, {}, 0)
    counts = listing.table.groupby(["expression", "split"]).size().to_dict()
    sizes = zip(SPLITS, (6, 2, 3), strict=True)
    assert counts == {(label, split): size for split, size in sizes for label in ("smile", "frown")}
    assert "split" in listing.layout and not listing.quarantine


def test_a_split_without_a_folder_is_drawn_from_train(tmp_path: Path) -> None:
    fill(tmp_path, "train/smile", "train/frown", each=20)
    for number in range(4):
        photo(tmp_path / "test" / ("smile", "frown")[number % 2] / f"{number}.png", 9000 + number)
    (tmp_path / "test" / "loose.png").write_bytes((tmp_path / "test" / "smile" / "0.png").read_bytes() + b"x")
    listing = folder.index(tmp_path, {}, 0)
    table = listing.table
    tested = table["source"].str.startswith("test/")
    assert set(table["split"][tested]) == {"test"} and set(table["split"][~tested]) == {"train", "val"}
    assert (table["split"] == "val").sum() == pytest.approx(40 / 9, abs=2)
    assert any("no folder for val: drawn from train" in note for note in listing.notes)
    assert reasons(listing) == {"test/loose.png": "no label: in the folder of a split, but in no class's folder"}
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(UserError, match=r"folders of splits \(test\), but none for train"):
        folder.check(tmp_path, {}, None)


def test_splits_beside_classes_and_without_classes_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "train/smile", "train/frown", "wink")
    with pytest.raises(UserError, match=r"train/frown/0\.png is in a folder .* named like a split, beside wink"):
        folder.check(tmp_path, {}, None)
    shutil.rmtree(tmp_path / "wink")
    shutil.rmtree(tmp_path / "train")
    fill(tmp_path, "train", "test")
    with pytest.raises(UserError, match=r"test/0\.png is in .* with no folder of a class in it"):
        folder.check(tmp_path, {}, None)
    fill(tmp_path, "smile")
    # A class may be called test when it is asked for by name.
    listing = folder.index(tmp_path, {"classes": ["test", "smile"]}, 0)
    assert set(listing.table["expression"]) == {"test", "smile"}


def test_classes_one_folder_deeper_are_named(tmp_path: Path) -> None:
    fill(tmp_path, "faces/smile", "faces/frown")
    with pytest.raises(UserError, match=rf"found faces.*in {tmp_path / 'faces'}, are frown, smile.*`path: .*/faces`"):
        folder.check(tmp_path, {}, None)
    assert len(folder.index(tmp_path, {"path": str(tmp_path / "faces")}, 0).table) == 20
    with pytest.raises(
        UserError, match=r"10 images are directly in \S+, the first is 0\.png, and not in the folder of a class"
    ):
        folder.check(tmp_path, {"path": str(tmp_path / "faces" / "smile")}, None)
    fill(tmp_path, "anna/happy", "anna/sad", "bert/happy", "bert/sad")
    shutil.rmtree(tmp_path / "faces")
    with pytest.raises(UserError, match=r"the folders anna, bert would be the classes, but .*\(happy, sad\)"):
        folder.check(tmp_path, {}, None)


def test_folders_within_a_class_are_no_layout_of_their_own(tmp_path: Path) -> None:
    fill(tmp_path, "happy/2020", "happy/2021", "sad/2020", "sad/sad", "sad/happy birthday")
    listing = folder.index(tmp_path, {}, 0)
    assert set(listing.table["expression"]) == {"happy", "sad"} and listing.layout == "one folder for each class"


# --- lists -----------------------------------------------------------------------------------------------------


def listed(root: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("path", "expression")) -> dict[str, str]:
    with (root / "list.csv").open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([header, *rows])
    return {"csv": "list.csv"}


def labelled(paths: list[str]) -> list[tuple[str, ...]]:
    return [(path, ("smile", "frown")[number % 2]) for number, path in enumerate(paths)]


def written(root: Path, how: str) -> Callable[[str], str]:
    return {
        "windows": lambda path: path.replace("/", "\\"),
        "absolute": lambda path: str(root.absolute() / path),
        "dotted": lambda path: f"./{path}",
        "padded": lambda path: f"  {path} ",
    }[how]


@pytest.mark.parametrize("how", ["windows", "absolute", "dotted", "padded"])
def test_paths_of_other_systems_are_recognised(tmp_path: Path, how: str) -> None:
    fill(tmp_path, "a/b", "c", each=10)
    paths = sorted(look(tmp_path).images)
    plain = folder.index(tmp_path, listed(tmp_path, labelled(paths)), 0)
    options = listed(tmp_path, labelled([written(tmp_path, how)(path) for path in paths]))
    found = folder.index(tmp_path, options, 0)
    assert found.table.equals(plain.table) and not found.quarantine and not found.notes


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda path: path.removeprefix("images/"),
            r"the nearest match is images/a/0\.png\. Move the files from \S+/images to",
        ),
        (lambda path: f"set/{path}", r"nearest match is images/a/0\.png\. Remove 'set/' from the beginning"),
        (lambda path: f"/home/x/{path}", r"'/home/x/images/a/0\.png'.* Remove '/home/x/' from the beginning"),
        (lambda path: "D:\\pics\\" + path.replace("/", "\\"), r"Remove 'D:/pics/' from the beginning"),
        (lambda path: path.upper(), r"nearest match is images/a/0\.png\. Write paths that are relative"),
        (lambda path: f"x{path}".replace("/", "/x"), r"no file has that name\. Write paths"),
    ],
)
def test_a_list_of_another_place_is_refused_with_the_nearest(
    tmp_path: Path, change: Callable[[str], str], told: str
) -> None:
    fill(tmp_path, "images/a", "images/b")
    paths = sorted(look(tmp_path).images)
    options = listed(tmp_path, labelled([change(path) for path in paths]))
    with pytest.raises(UserError, match=told) as caught:
        folder.check(tmp_path, options, None)
    assert f"none of the 20 listed files are below {tmp_path}. The first that is missing, " in str(caught.value)
    assert f"{change(paths[0])!r}, was expected at" in str(caught.value)


def test_a_part_of_a_list_that_is_elsewhere_is_told(tmp_path: Path) -> None:
    fill(tmp_path, "images/a", "images/b")
    paths = sorted(look(tmp_path).images)
    options = listed(tmp_path, labelled([*paths[:14], *(path.removeprefix("images/") for path in paths[14:])]))
    listing = folder.index(tmp_path, options, 0)
    assert len(listing.table) == 14 and len(listing.quarantine) == 12
    (note,) = listing.notes
    assert "not all of the 20 listed files" in note and "the nearest match is images/b/4.png" in note


@pytest.mark.parametrize("module", ["affectnet", "affectnet npy", "celeba", "cfee", "open_faces"])
def test_images_one_folder_deeper_than_the_lists_say(tmp_path: Path, module: str) -> None:
    def deeper(place: Path) -> None:
        place.rename(place.with_name("away"))
        place.mkdir()
        (place.parent / "away").rename(place / place.name)

    if module == "affectnet":
        CsvRelease(tmp_path).write()
        deeper(tmp_path / affectnet.CSV_LAYOUT[0])
        with pytest.raises(UserError, match=r"is Manually_Annotated_Images/0/train000\.jpg\. Move the files from"):
            affectnet.index(tmp_path, {}, 0)
    elif module == "affectnet npy":
        NpyRelease(tmp_path)
        before = affectnet.index(tmp_path, {}, 0)
        for name in ("train_set/images", "train_set/annotations", "val_set/annotations"):
            deeper(tmp_path / name)
        after = affectnet.index(tmp_path, {}, 0)
        assert after.table["id"].tolist() == before.table["id"].tolist() and not after.quarantine
        assert (tmp_path / after.table["source"].iloc[0]).is_file()
        (tmp_path / "AffectNet").mkdir()
        (tmp_path / "train_set").rename(tmp_path / "AffectNet" / "train_set")
        with pytest.raises(UserError, match=r"train_set/images: AffectNet/train_set/images"):
            affectnet.check(tmp_path, {}, None)
    elif module == "celeba":
        deeper(celeba_images(tmp_path))
        with pytest.raises(UserError, match=r"the nearest match is img_align_celeba/000001\.jpg\. Move the files"):
            celeba.index(tmp_path, {}, 0)
        (tmp_path / "list_attr_celeba.txt").rename(tmp_path / "list_attr_celeba.csv")
        with pytest.raises(UserError, match=r"list_attr_celeba\.txt: list_attr_celeba\.csv"):
            celeba.check(tmp_path, {}, None)
    elif module == "cfee":
        cfee_images(tmp_path)
        (tmp_path / "CFEE").mkdir()
        (tmp_path / "Basic").rename(tmp_path / "CFEE" / "Basic")
        with pytest.raises(
            UserError, match=r"the nearest match is CFEE/Basic/0_0\.png\. Move the files from \S+CFEE to"
        ):
            cfee.check(tmp_path, {}, None)
    else:
        deeper(open_images(tmp_path))
        with pytest.raises(UserError, match=r"the nearest match is images/P0_0001\.jpg"):
            open_faces.index(tmp_path, {}, 0)


def test_columns_of_a_list() -> None:
    assert composed("e\u0301") == "\u00e9" and composed("plain") == "plain"
    assert inside("a/b..c.jpg") and not inside("a/../b.jpg") and not inside("/a.jpg") and not inside("..")


# --- one name in two forms of Unicode --------------------------------------------------------------------------

APART, COMPOSED = (unicodedata.normalize(form, "Ren\u00e9e \u00e4\u00f6\u00fc") for form in ("NFD", "NFC"))
assert APART != COMPOSED


@pytest.mark.parametrize(("on_disk", "in_list"), [(APART, COMPOSED), (COMPOSED, APART)])
def test_every_join_by_name_takes_both_forms_of_accents(tmp_path: Path, on_disk: str, in_list: str) -> None:
    rows, units = [], []
    for number in range(20):
        label = ("fr\u00f6hlich", "w\u00fctend")[number // 10]
        photo(tmp_path / unicodedata.normalize("NFD", label) / f"{on_disk}{number}.png", number)
        rows.append((f"{label}/{in_list}{number}.png", label, (APART, COMPOSED, COMPOSED.upper())[number % 3]))
        units.append(face(f"{in_list}{number}.png"))
    options = listed(tmp_path, rows, ("path", "expression", "identity"))
    classes = [unicodedata.normalize("NFD", "w\u00fctend"), "fr\u00f6hlich"]
    # Folders: the class is composed, whatever the file system and params.yaml say.
    by_folder = folder.index(tmp_path, {"classes": classes}, 0)
    assert set(by_folder.table["expression"]) == {"w\u00fctend", "fr\u00f6hlich"} and not by_folder.quarantine
    # Lists: one file, and one person.
    with pytest.raises(UserError, match="a split is empty"):
        folder.index(tmp_path, options | {"classes": classes}, 0)
    assert one_spelling([APART, COMPOSED, COMPOSED.upper(), ""]) == [COMPOSED] * 3 + [""]
    # OpenFace: one CSV for all images, and one for each.
    sources = by_folder.table["source"].tolist()
    (tmp_path / "units.csv").write_text(table(units), encoding="utf-8")
    assert not openface.match(openface.read(tmp_path / "units.csv", 0.5), sources).faults
    for number in range(20):
        out = tmp_path / "out" / f"{in_list}{number}.csv"
        out.parent.mkdir(exist_ok=True)
        out.write_text(table([face("x")]), encoding="utf-8")
    matched = openface.match(openface.read(tmp_path / "out", 0.5), sources)
    assert not matched.faults and not matched.unused
    # Depth maps of photographs.
    photo(tmp_path / "depth" / f"{in_list}3.png", 1)
    assert released_depth.name_of(f"smile/{on_disk}3.jpg") in released_depth.find_maps(tmp_path)


def test_openfaces_names_of_another_folder_and_of_two_images(tmp_path: Path) -> None:
    rows = [
        face(r"C:\data\smile\one.png"),
        face("/home/x/pics/smile/two.png"),
        face("b/three.png"),
        face("/p/four.png"),
    ]
    rows += [face("/q/four.png")]
    (tmp_path / "units.csv").write_text(table(rows), encoding="utf-8")
    sources = ["smile/one.png", "smile/two.png", "a/b/three.png", "c/b/three.png", "four.png", "five.png"]
    matched = openface.match(openface.read(tmp_path / "units.csv", 0.5), sources)
    assert set(matched.faults) == {2, 3, 4, 5} and not matched.unused
    assert (
        "2 images have this name" in matched.faults[2]
        and "it is not known which of them is the image" in matched.faults[4]
    )


def test_a_person_that_a_given_split_divides_is_told(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b", each=6)
    rows = [
        (path, ("smile", "frown")[number // 6], SPLITS[number % 3], f"p{number % 3}" if number else "P1 ")
        for number, path in enumerate(sorted(look(tmp_path).images))
    ]
    options = listed(tmp_path, rows, ("path", "expression", "split", "identity"))
    (note,) = folder.index(tmp_path, options, 0).notes
    assert note.startswith("1 of 3 persons are in more than one split (P1 in train and val)")


# --- size ------------------------------------------------------------------------------------------------------


def test_many_rows_and_many_columns_take_seconds(tmp_path: Path) -> None:
    fill(tmp_path, "smile", "frown", each=10)
    real = sorted(look(tmp_path).images)
    rows = [f"{path},{path.split('/')[0]},p{number}" for number, path in enumerate(real)]
    rows += [f"d{number % 100}/{number}.png,smile,p{number}" for number in range(150_000)]
    (tmp_path / "rows.csv").write_text("\n".join(["path,expression,identity", *rows]))
    start = time.process_time()
    listing = folder.index(tmp_path, {"csv": "rows.csv"}, 0)
    assert len(listing.table) == 20 and len(listing.quarantine) == 150_000
    assert time.process_time() - start < 8
    names = [f"c{number}" for number in range(20_000)]
    wide = [",".join(["path", *names, "expression"])]
    wide += [",".join([path, *(["1"] * 20_000), path.split("/")[0]]) for path in real]
    (tmp_path / "wide.csv").write_text("\n".join(wide))
    start = time.process_time()
    assert len(folder.index(tmp_path, {"csv": "wide.csv"}, 0).table) == 20
    with pytest.raises(UserError, match="the column 'label' is missing") as caught:
        read_list(tmp_path / "wide.csv", ["path", "label"])
    assert len(str(caught.value)) < 500
    assert time.process_time() - start < 5


def test_a_listed_file_is_found_once_however_often_it_is_listed(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    found = Listed.of(["a.png", "./a.png", "b.png", "a.png"], look(tmp_path), tmp_path, "list")
    assert found.paths == ["a.png", "a.png", "b.png", "a.png"] and not found.note
    touch(tmp_path / "x" / "b.png")
    assert "the nearest match is x/b.png" in Listed.of(["a.png", "b.png"], look(tmp_path), tmp_path, "list").note


def test_a_class_whose_name_is_not_utf8_does_not_vanish(tmp_path: Path) -> None:
    fill(tmp_path, "smile", "frown")
    try:
        place = Path(os.fsdecode(os.fsencode(tmp_path) + "/ñandú".encode("latin-1")))
        place.mkdir()
    except OSError:
        pytest.skip("this file system refuses names that are not UTF-8")
    photo(place / "1.png", 7000)
    with pytest.raises(UserError, match=r"the class '\\\\udcf1and\\\\udcfa' can be used: 1 x the path is not in UTF-8"):
        folder.index(tmp_path, {}, 0)
    assert len(folder.index(tmp_path, {"classes": ["smile", "frown"]}, 0).table) == 20


def test_a_list_that_lies_elsewhere_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    listed(tmp_path, labelled(sorted(look(tmp_path).images)))
    (tmp_path / "lists").mkdir()
    (tmp_path / "list.csv").rename(tmp_path / "lists" / "list.csv")
    with pytest.raises(UserError, match=r"list\.csv: no such file\. Nearest match for \S+/list\.csv: lists/list\.csv"):
        folder.check(tmp_path, {"csv": "list.csv"}, None)


def test_a_clone_of_the_open_set_is_found_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "facial_expressions-master").mkdir()
    open_images(tmp_path / "facial_expressions-master")
    (tmp_path / "notes.txt").touch()
    open_faces.fetch(tmp_path, {}, None)  # nothing is downloaded
    listing = open_faces.index(tmp_path, {}, 0)
    assert len(listing.table) == 60
    assert all(source.startswith("facial_expressions-master/images/") for source in listing.table["source"])


def test_a_file_that_a_list_names_is_meant_wherever_it_lies(tmp_path: Path) -> None:
    fill(tmp_path, "Thumbs/a", ".hidden")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "up").symlink_to("..")
    paths = [f"{place}/{number}.png" for place in ("Thumbs/a", "b/up/.hidden") for number in range(10)]
    listing = folder.index(tmp_path, listed(tmp_path, labelled(paths)), 0)
    assert sorted(listing.table["source"]) == sorted(paths) and not listing.quarantine
