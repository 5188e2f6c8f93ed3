"""What counts below a folder of photographs: thumbnails, service folders, links, other endings, odd files."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.datasets import affectnet, celeba, cfee, folder, open_faces, rafd, tree
from mimik.datasets.listing import Listing
from mimik.datasets.tree import LINK, elsewhere, find_images, left_by_programs, look, nearest
from mimik.errors import UserError
from mimik.faces.action_units import openface
from mimik.storage.pictures import formats
from tests.datasets.affectnet_world import CsvRelease, NpyRelease
from tests.datasets.celeba_world import attribute_line, write_attributes
from tests.datasets.cfee_world import release as cfee_release
from tests.datasets.cfee_world import write as write_manifest
from tests.datasets.rafd_world import release as rafd_release
from tests.faces.action_units.test_openface import face, table

SERVICE = (
    ".thumbnails",
    "@eaDir",
    "__MACOSX",
    ".picasaoriginals",
    "lost+found",
    "$RECYCLE.BIN",
    ".Trash-1000",
    ".dtrash",
    ".xvpics",
    "#recycle",
    "Thumbs",
    ".@__thumb",
    "found.000",
    "Previews.lrdata",
    "System Volume Information",
)


def photo(path: Path, number: int = 0, kind: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, kind)


def classes(root: Path, each: int = 10) -> None:
    for position, name in enumerate(("smile", "frown")):
        for number in range(each):
            photo(root / name / f"{number}.png", 1000 * position + number)


def reasons(listing: Listing) -> dict[str, str]:
    found = {path: reason for path, _, reason in listing.quarantine}
    assert len(found) == len(listing.quarantine)
    assert not found.keys() & set(listing.table["source"])
    return found


@pytest.mark.parametrize("name", SERVICE)
def test_a_folder_that_a_program_left_holds_no_photographs(tmp_path: Path, name: str) -> None:
    classes(tmp_path)
    photo(tmp_path / name / "smile" / "0.png", 5000)
    photo(tmp_path / "smile" / name / "0.png", 5001)
    listing = folder.index(tmp_path, {}, 0)
    assert set(listing.table["expression"]) == {"smile", "frown"} and len(listing.table) == 20
    assert not listing.quarantine
    (note,) = listing.notes
    assert note.startswith("pictures ignored in folders that programs make") and note.endswith(f": 2 ({name} 2)")


def test_files_that_programs_leave_are_no_photographs(tmp_path: Path) -> None:
    classes(tmp_path)
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", ".picasa.ini", "ZbThumbnail.info"):
        (tmp_path / "smile" / name).write_bytes(b"\0\5\x16\7 of a program")
    (tmp_path / "smile" / "._0.png").write_bytes(b"\0\5\x16\7")
    photo(tmp_path / "smile" / "SYNOPHOTO_THUMB_M.jpg", 9, "JPEG")
    listing = folder.index(tmp_path, {}, 0)
    assert len(listing.table) == 20 and not listing.quarantine
    assert listing.notes == ("pictures ignored because of their names (hidden files, thumbnails): 2",)


def test_names_of_people_and_expressions_are_no_programs() -> None:
    for name in ("smile", "Anna", "original", "2021", "@anna", "happy faces", "trashy", "Überraschung", "photos.2021"):
        assert not left_by_programs(name), name


def test_a_picture_of_another_ending_is_counted_with_what_to_do(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "smile" / "a.cr2").write_bytes(b"II*\0")
    (tmp_path / "smile" / "b.psd").write_bytes(b"8BPS")
    photo(tmp_path / "smile" / "c", 11, "JPEG")
    photo(tmp_path / "smile" / "d.jpg_original", 12, "JPEG")
    photo(tmp_path / "smile" / "e.jfif", 13, "JPEG")
    photo(tmp_path / "frown" / "f.GIF", 14, "GIF")
    (tmp_path / "smile" / "notes.docx").write_bytes(b"PK\3\4")
    (tmp_path / "labels.txt").write_bytes(b"\xff\xd8\xff")
    listing = folder.index(tmp_path, {}, 0)
    assert reasons(listing) == {
        "smile/a.cr2": "a camera's raw file; develop it to JPEG or TIFF",
        "smile/b.psd": "not a supported format; convert it to PNG or JPEG",
        "smile/c": "a JPEG picture without an ending; change its ending to .jpg",
        "smile/d.jpg_original": "a JPEG picture that ends in .jpg_original; change its ending to .jpg",
    }
    assert {"smile/e.jfif", "frown/f.GIF"} <= set(listing.table["source"])


@pytest.mark.skipif("HEIF" in formats(), reason="this installation reads HEIC")
def test_heic_is_named_whatever_it_is_called(tmp_path: Path) -> None:
    classes(tmp_path)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    (tmp_path / "smile" / "a.HEIC").write_bytes(heic)
    (tmp_path / "smile" / "b.jpg").write_bytes(heic)
    (tmp_path / "smile" / "c").write_bytes(heic)
    found = reasons(folder.index(tmp_path, {}, 0))
    assert set(found) == {"smile/a.HEIC", "smile/b.jpg", "smile/c"}
    assert all("pillow-heif" in reason and "to JPEG" in reason for reason in found.values())


def test_a_list_may_name_pictures_by_any_ending_or_none(tmp_path: Path) -> None:
    rows = ["path,expression"]
    for number in range(20):
        name = f"{number}" if number % 2 else f"{number}.picture"
        photo(tmp_path / name, number, "JPEG")
        rows.append(f"{name},{('smile', 'frown')[number // 10]}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    listing = folder.index(tmp_path, {"csv": "list.csv"}, 0)
    assert len(listing.table) == 20 and not listing.quarantine


def links(root: Path, *pairs: tuple[str, str]) -> None:
    for name, target in pairs:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)


def test_links_upwards_add_nothing_and_end(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    classes(root)
    photo(tmp_path / "private" / "x.png", 3000)
    before = folder.index(root, {}, 0).table
    # Two links upwards in every folder are 2 to the power of 40 paths for who follows them.
    links(root, ("smile/up", ".."), ("smile/up2", "../"), ("frown/up", ".."), ("frown/all", "../.."), ("self", "."))
    links(root, ("smile/twin", "../frown"), ("circle", "circle"), ("a", "b"), ("b", "a"))
    start = time.process_time()
    listing = folder.index(root, {"classes": ["smile", "frown"]}, 0)
    assert time.process_time() - start < 5
    assert listing.table.equals(before)
    assert reasons(listing) == {"circle": LINK, "a": LINK, "b": LINK}
    (note,) = (note for note in listing.notes if note.startswith("links"))
    assert "frown/all (it leads to a folder that contains this one), and 5 more" in note


def test_links_to_other_places_are_followed_once(tmp_path: Path) -> None:
    classes(tmp_path / "elsewhere")
    root = tmp_path / "photos"
    links(root, ("all", "../elsewhere"), ("smile", "../elsewhere/smile"), ("frown", "../elsewhere/frown"))
    links(root, ("again", "../elsewhere/frown"))
    assert len(find_images(root)) == 20
    assert {path.split("/")[0] for path in find_images(root)} == {"smile", "again"}
    assert look(root).links == {"frown": "again", "all/smile": "smile", "all/frown": "again"}
    with pytest.raises(UserError, match="the class 'frown' can be used: 1 x a link to again, which is read there"):
        folder.index(root, {}, 0)
    (root / "frown").unlink()
    assert set(folder.index(root, {}, 0).table["expression"]) == {"smile", "again"}


def test_a_link_to_nothing_is_no_silent_loss_of_a_class(tmp_path: Path) -> None:
    classes(tmp_path)
    links(tmp_path, ("wink", "/nowhere/at/all"), ("smile/0b.png", "gone.png"))
    with pytest.raises(UserError, match=rf"the class 'wink' can be used: 1 x {LINK} \(wink\)"):
        folder.index(tmp_path, {}, 0)
    assert reasons(folder.index(tmp_path, {"classes": ["smile", "frown"]}, 0)) == {"wink": LINK, "smile/0b.png": LINK}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    classes(tmp_path)
    os.mkfifo(tmp_path / "smile" / "pipe.png")
    assert reasons(folder.index(tmp_path, {}, 0)) == {"smile/pipe.png": "no file, but a pipe, a socket or a device"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_named(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "smile").chmod(0)
    try:
        with pytest.raises(UserError, match="smile: this folder"):
            folder.index(tmp_path, {}, 0)
    finally:
        (tmp_path / "smile").chmod(0o755)


def test_hidden_annotations_refuse_nothing(tmp_path: Path) -> None:
    raw = tmp_path / "affectnet"
    NpyRelease(raw)
    expected = affectnet.index(raw, {}, 0)
    for name in ("._0_exp.npy", "._0_lnd.npy", ".DS_Store"):
        (raw / "train_set" / "annotations" / name).write_bytes(b"\0\5\x16\7")
    (raw / "train_set" / "annotations" / "@eaDir").mkdir()
    (raw / "train_set" / "annotations" / "@eaDir" / "0_exp.npy").write_bytes(b"\0\5\x16\7")
    found = affectnet.index(raw, {"landmarks": "precomputed"}, 0)
    assert found.quarantine == expected.quarantine and found.table["id"].tolist() == expected.table["id"].tolist()
    units = tmp_path / "units"
    units.mkdir()
    for number in range(3):
        (units / f"{number}.csv").write_text(table([face("x")]))
        (units / f"._{number}.csv").write_bytes(b"\xff\xfe\0\5\x16\7")
    assert set(openface.read(units, 0.5).units) == {"0", "1", "2"}


def test_one_damaged_csv_among_many_costs_its_image(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text(table([face("x")]))
    (tmp_path / "3.csv").write_bytes(b"\xff\xfe\0\1")
    (tmp_path / "4.csv").write_text("")
    readings = openface.read(tmp_path, 0.5)
    assert set(readings.units) == {"0", "1", "2"} and set(readings.faults) == {"3", "4"}
    assert "3.csv: cannot be read" in readings.faults["3"] and "'confidence'" in readings.faults["4"]
    for number in range(3):
        (tmp_path / f"{number}.csv").unlink()
    with pytest.raises(UserError, match=r"3\.csv: cannot be read"):
        openface.read(tmp_path, 0.5)


def test_openfaces_pictures_are_no_class(tmp_path: Path) -> None:
    classes(tmp_path)
    photo(tmp_path / "openface" / "0_aligned" / "face_det_000000.bmp", 1, "BMP")
    listing = folder.index(tmp_path, {"action_units": "openface", "openface_csv": "openface"}, 0)
    assert set(listing.table["expression"]) == {"smile", "frown"} and not listing.quarantine


def affectnet_images(raw: Path) -> Path:
    CsvRelease(raw).write()
    return raw / affectnet.CSV_LAYOUT[0]


def cfee_images(raw: Path) -> Path:
    write_manifest(raw, cfee_release(raw, lambda path: photo(path, hash(path.name) % 10**8), subjects=10, categories=7))
    return raw


def rafd_images(raw: Path) -> Path:
    people = [f"{number:02d}_Caucasian_male" for number in range(18, 30)]
    rafd_release(raw, lambda path: photo(path, hash(path.name) % 10**8, "JPEG"), people, ("090",), ("frontal",))
    return raw


def celeba_images(raw: Path) -> Path:
    names = [f"{number:06d}.jpg" for number in (1, 2, 3, 4, 162_771, 162_772, 182_638, 182_639)]
    for name in names:
        photo(raw / "img_align_celeba" / name, int(name[:6]), "JPEG")
    lines = [attribute_line(name, ["Smiling"] if int(name[:6]) % 2 else []) for name in names]
    write_attributes(raw / "list_attr_celeba.txt", lines)
    splits = {name: "0" if int(name[:6]) < 9 else "1" if int(name[:6]) < 182_638 else "2" for name in names}
    (raw / "list_eval_partition.txt").write_text("".join(f"{name} {split}\n" for name, split in splits.items()))
    return raw / "img_align_celeba"


def open_images(raw: Path) -> Path:
    rows = ["image,emotion"]
    for number in range(60):
        photo(raw / "images" / f"P{number}_0001.jpg", number, "JPEG")
        with Image.open(raw / "images" / f"P{number}_0001.jpg") as opened:
            grey = opened.convert("L")
        grey.save(raw / "images" / f"P{number}_0001.jpg")
        rows.append(f"P{number}_0001.jpg,{('neutral', 'happiness')[number % 2]}")
    (raw / "data").mkdir()
    (raw / "data" / "legend.csv").write_text("\n".join(rows))
    return raw / "images"


@pytest.mark.parametrize(
    ("module", "images"),
    [
        (affectnet, affectnet_images),
        (cfee, cfee_images),
        (rafd, rafd_images),
        (celeba, celeba_images),
        (open_faces, open_images),
    ],
)
def test_every_dataset_passes_over_the_same_and_tells_the_same(
    tmp_path: Path, module: object, images: Callable[[Path], Path]
) -> None:
    place = images(tmp_path)
    sound = module.index(tmp_path, {}, 0)  # type: ignore[attr-defined]
    assert not sound.quarantine
    photo(place / "@eaDir" / "a.jpg" / "SYNOPHOTO_THUMB_XL.jpg", 1, "JPEG")
    photo(place / "__MACOSX" / "._a.jpg", 1, "JPEG")
    (place / "IMG_1.cr2").write_bytes(b"II*\0")
    (place / "loop").symlink_to(place)
    listing = module.index(tmp_path, {}, 0)  # type: ignore[attr-defined]
    assert listing.table.equals(sound.table)
    ((path, reason),) = reasons(listing).items()
    assert path.endswith("IMG_1.cr2") and "raw file" in reason
    assert any("@eaDir 1" in note and "__MACOSX 1" in note for note in listing.notes)
    assert any("loop" in note for note in listing.notes)


def test_the_nearest_file_shares_most_folders(tmp_path: Path) -> None:
    files = ["images/a/1.jpg", "b/1.jpg", "b/2.png", "c/1.JPG"]
    assert nearest("a/1.jpg", files) == "images/a/1.jpg"
    assert nearest("x\\B\\1.jpg", files) == "b/1.jpg"
    assert nearest("/home/me/2.jpg", files) == "b/2.png"
    assert nearest("3.jpg", files) is None and nearest("", files) is None and nearest("/", files) is None
    (tmp_path / "AffectNet" / "train_set" / "images").mkdir(parents=True)
    told = elsewhere(tmp_path, ["train_set/images", "val_set/annotations"])
    assert f"{tmp_path / 'train_set/images'}: AffectNet/train_set/images" in told and "val_set" not in told
    assert elsewhere(tmp_path / "nowhere", ["a"]) == ""


def test_a_large_folder_is_walked_in_little_time(tmp_path: Path) -> None:
    for part in range(20):
        (tmp_path / str(part)).mkdir()
        for number in range(500):
            (tmp_path / str(part) / f"{number}.jpg").touch()
    start = time.process_time()
    found = tree.look(tmp_path)
    assert len(found.images) == 10_000
    assert time.process_time() - start < 3
