"""Faulty input as docs/datasets.md states it: what each fault becomes, and that no other face is lost.

Every fault is planted with a real photograph among sound ones, and the whole is prepared. What can be read has to give
the face that the plain file gives; everything else has to stand in the quarantine, once, with its reason.
"""

import csv
import os
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.Image import Transpose

from mimik.datasets import affectnet, cfee, folder
from mimik.datasets.photographs import file_fault, image_mode
from mimik.faces.prepared.prepare import prepare
from mimik.faces.prepared.store import FaceStore

SIZE = 64
OPTIONS: dict[str, Any] = {"sizes": [SIZE], "landmarks": "mediapipe", "annotations": ["masks"]}
LONG = "x" * 251 + ".jpg"
"""As long as a name may be."""

UNDONE = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}
"""How a camera stores an upright picture, by its orientation in the EXIF data (EXIF 2.3, section 4.6.4, tag 0x0112)."""


@pytest.fixture(scope="session")
def portrait() -> Image.Image:
    """A part of a photograph of Eileen Collins, NASA, public domain."""
    from skimage.data import astronaut

    return Image.fromarray(astronaut()[0:256, 96:352])


# --- files that hold a sound picture ---------------------------------------------------------------------------


def saved(path: Path, image: Image.Image, mode: str = "RGB", **options: Any) -> None:
    image.convert(mode).save(path, **options)


def in_colours(path: Path, image: Image.Image) -> None:
    image.convert("P", palette=Image.Palette.ADAPTIVE).save(path)


def deep(path: Path, image: Image.Image) -> None:
    """16 bits in every channel; the lower byte repeats the upper one."""
    import cv2

    pixels = np.asarray(image, np.uint16) * 257
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def turned(path: Path, image: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.transpose(UNDONE[orientation]).save(path, exif=exif, quality=95)


def with_unreadable_exif(path: Path, image: Image.Image) -> None:
    image.save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\0nothing that follows the rules", quality=95)


def padded(path: Path, image: Image.Image) -> None:
    image.save(path, format="JPEG", quality=95)
    with path.open("ab") as opened:
        opened.write(bytes(4096))


Writer = Callable[[Path, Image.Image], None]

SOUND: dict[str, Writer] = {
    "cmyk.jpg": partial(saved, mode="CMYK", quality=95),
    "cmyk.tif": partial(saved, mode="CMYK"),
    "lab.tif": partial(saved, mode="LAB"),
    "sixteen.png": deep,
    "sixteen.tif": deep,
    "palette.png": in_colours,
    "palette.gif.bmp": in_colours,
    "webp.jpg": partial(saved, format="WEBP", quality=95),
    "png.jpg": partial(saved, format="PNG", compress_level=1),  # not the bytes of plain.png
    "padded.jpg": padded,
    "exif.jpg": with_unreadable_exif,
    "名前 ñandú €.jpg": partial(saved, quality=95),
    unicodedata.normalize("NFD", "décomposé.jpg"): partial(saved, quality=94),
    "a,\"b\" 'c' 100%.jpg": partial(saved, quality=93),
    LONG: partial(saved, quality=92),
    **{f"turned{orientation}.jpg": partial(turned, orientation=orientation) for orientation in UNDONE},
}
"""How each file is written; all of them show the same photograph."""


# --- files that do not -----------------------------------------------------------------------------------------


def cut(path: Path, image: Image.Image) -> None:
    image.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeros_for_the_rest(path: Path, image: Image.Image) -> None:
    """As a download leaves it that took its place on the disk first; the zeros decode to an even area."""
    image.save(path, quality=95)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))


def one_byte_changed(path: Path, image: Image.Image) -> None:
    image.save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def bytes_of(content: bytes) -> Writer:
    return lambda path, image: (path.write_bytes(content), None)[1]


def strip(path: Path, image: Image.Image) -> None:
    """A picture so long and narrow that mediapipe would end the process."""
    image.resize((5000, 1)).save(path)


def dangling(path: Path, image: Image.Image) -> None:
    path.symlink_to("nowhere.jpg")


USELESS: dict[str, tuple[Writer, str, str]] = {
    "truncated.jpg": (cut, "read", "cannot be decoded: image file is truncated"),
    "truncated.png": (cut, "read", "cannot be decoded: image file is truncated"),
    "truncated.tif": (cut, "read", "cannot be decoded: image file is truncated"),
    "truncated.webp": (cut, "listing", "not a readable image"),
    "interrupted.jpg": (zeros_for_the_rest, "read", "the end of the picture is missing"),
    "corrupt.png": (one_byte_changed, "read", "cannot be decoded: "),
    "header.png": (bytes_of(b"\x89PNG\r\n\x1a\n\0\0\0\x05IHDR\0\0\0"), "listing", "not a readable image"),
    "zero.jpg": (bytes_of(b""), "listing", "an empty file"),
    "page.jpg": (bytes_of(b"<html>404</html>"), "listing", "not a readable image"),
    "strip.png": (strip, "landmarks", "no face found"),
    "dangling.jpg": (dangling, "listing", "a broken link"),
}
"""How each file is written, its stage in the quarantine, and how its reason begins."""

LISTED_ONLY = {
    "missing.jpg": "listed, but there is no such image",
    "y" * 300 + ".jpg": "listed, but there is no such image",
    "../outside.jpg": "listed with a path that is not below the images' folder",
    "nolabel.jpg": "listed without an expression",
    "conflict.jpg": "listed twice with different labels, persons or splits",
    "unlisted.jpg": "no label: not listed in the CSV, or in no class's folder",
}
"""Reason of what is wrong between the list and the files; the last three are sound photographs."""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, portrait: Image.Image) -> FaceStore:
    """An archive with the plain photograph, six others, and all the faults, prepared."""
    pytest.importorskip("mediapipe")
    root = tmp_path_factory.mktemp("faults")
    raw = root / "raw"
    raw.mkdir()
    rows = []
    for number in range(6):
        portrait.point(lambda value, number=number: value * (13 - number) // 14).save(raw / f"other{number}.png")
        rows.append((f"other{number}.png", "smile" if number % 2 else "frown"))
    portrait.save(raw / "plain.png")
    rows.append(("plain.png", "smile"))
    for name, write in SOUND.items():
        write(raw / name, portrait)
        # Lists are typed with composed letters, whatever the file system does.
        rows.append((unicodedata.normalize("NFC", name), "smile"))
    for name, (write, _, _) in USELESS.items():
        write(raw / name, portrait)
        rows.append((name, "frown"))
    for number, name in enumerate(("nolabel.jpg", "conflict.jpg", "unlisted.jpg")):
        portrait.crop((number + 1, 0, 256, 256)).save(raw / name)
    rows += [(name, "smile") for name in ("missing.jpg", "y" * 300 + ".jpg", "../outside.jpg", "conflict.jpg")]
    rows += [("nolabel.jpg", ""), ("conflict.jpg", "frown"), ("plain.png", "smile")]
    with (raw / "list.csv").open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("path", "expression"), *rows])
    return prepare_folder(root, raw, csv="list.csv")


def prepare_folder(root: Path, raw: Path, **options: Any) -> FaceStore:
    settings = {"seed": 0, "workers": 1, "mirror": None, "progress": False}
    prepare("folder", OPTIONS | options, raw, root / "store", work=root / "work", **settings)
    return FaceStore(root / "store", SIZE)


def test_no_other_face_is_lost_and_everything_stands_somewhere_once(prepared: FaceStore) -> None:
    others = {f"other{number}.png" for number in range(6)}
    assert set(prepared.table["source"]) == {"plain.png", *SOUND, *others}
    assert prepared.table["id"].is_unique
    assert prepared.table["id"].str.fullmatch(r"[A-Za-z0-9_.-]{1,100}").all()
    quarantine = prepared.quarantine()["path"].tolist()
    assert sorted(quarantine) == sorted([*USELESS, *LISTED_ONLY])


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_picture_in_whatever_file_gives_the_same_face(prepared: FaceStore, name: str) -> None:
    table = prepared.table.set_index("source")
    rows = {source: row for row, source in enumerate(prepared.table["source"])}
    plain, found = (prepared.images[rows[source]].astype(float) for source in ("plain.png", name))
    assert np.abs(found - plain).mean() < 7  # palettes and compression; swapped channels or a mirrored face: over 15
    for column, tolerance in (("roll", 2.0), ("yaw", 2.5), ("pitch", 4.0), ("eye_distance", 2.0)):
        assert abs(table.loc[name, column] - table.loc["plain.png", column]) < tolerance, column


def test_those_limits_would_notice_other_colours_and_a_mirrored_face(prepared: FaceStore) -> None:
    plain = prepared.images[prepared.table["source"].tolist().index("plain.png")].astype(float)
    assert np.abs(plain[..., ::-1] - plain).mean() > 15
    assert np.abs(plain[:, ::-1] - plain).mean() > 15
    assert np.abs(255 - plain - plain).mean() > 15


@pytest.mark.parametrize("name", USELESS)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(prepared: FaceStore, name: str) -> None:
    _, stage, reason = USELESS[name]
    ((found_stage, found),) = prepared.quarantine().set_index("path").loc[[name]].to_numpy().tolist()
    assert found_stage == stage
    assert found.startswith(reason)


@pytest.mark.parametrize("name", LISTED_ONLY)
def test_what_list_and_files_disagree_on_is_named_with_the_reason(prepared: FaceStore, name: str) -> None:
    assert prepared.quarantine().set_index("path").loc[[name]].to_numpy().tolist() == [["listing", LISTED_ONLY[name]]]


def test_sixteen_bits_of_grey_are_scaled_not_cut(tmp_path: Path, portrait: Image.Image) -> None:
    from mimik.faces.photograph import read_photograph

    grey = portrait.convert("L")
    for name in ("a.png", "a.tif"):
        deep(tmp_path / name, grey)
        assert np.array_equal(read_photograph(tmp_path / name), np.repeat(np.asarray(grey)[..., None], 3, axis=-1))


def test_names_that_are_not_utf8_are_named_and_cost_no_other_face(tmp_path: Path, portrait: Image.Image) -> None:
    pytest.importorskip("mediapipe")
    raw = tmp_path / "raw"
    for position, name in enumerate(("smile", "frown")):
        (raw / name).mkdir(parents=True)
        for number in range(5):
            portrait.crop((number, position, 256, 256)).save(raw / name / f"{number}.png")
    latin = os.fsencode(raw / "smile") + "/ñandú.png".encode("latin-1")
    try:
        Path(os.fsdecode(latin)).write_bytes((raw / "smile" / "0.png").read_bytes())
    except OSError:
        pytest.skip("this file system refuses names that are not UTF-8")
    store = prepare_folder(tmp_path, raw)
    assert len(store) == 10
    ((path, stage, reason),) = store.quarantine().to_numpy().tolist()
    assert (path, stage) == ("smile/\\udcf1and\\udcfa.png", "listing")
    assert reason == "the path is not in UTF-8; rename the file or folder"


@pytest.mark.parametrize("content", [b"P6 x 3 255\n", b"\x89PNG\r\n\x1a\n\0\0\0\x05IHDR\0\0\0\0\0\0\0\0\0"])
def test_a_broken_header_is_no_image_and_no_traceback(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert image_mode(tmp_path / "a.png") is None
    assert file_fault(tmp_path / "a.png") == "not a readable image"


# --- annotations -----------------------------------------------------------------------------------------------

IMAGES = affectnet.CSV_LAYOUT[0]


def test_affectnet_faults_of_the_lists(tmp_path: Path, portrait: Image.Image) -> None:
    pytest.importorskip("mediapipe")
    raw = tmp_path / "raw"
    (raw / IMAGES / "1").mkdir(parents=True)
    lists: dict[str, list[str]] = {"training": [], "validation": []}
    landmarks = ";".join(["10.5"] * 136)

    def add(name: str, code: object, which: str = "training", file: bool = True, **further: str) -> None:
        values = {"box": "9,9,90,90", "landmarks": landmarks, "valence": "-0.2", "arousal": "0.1"} | further
        image = f"1/{name}.jpg"
        lists[which].append(
            f"{image},{values['box']},{values['landmarks']},{code},{values['valence']},{values['arousal']}"
        )
        if file and not (raw / IMAGES / image).exists():
            portrait.crop((len(lists[which]) % 8, 0, 256, 256)).save(raw / IMAGES / image)

    sound = {}
    for code, label in ((0, "neutral"), (1, "happiness")):
        for number in range(4):
            add(f"train{code}{number}", code)
            sound[f"train{code}{number}"] = label
        add(f"val{code}", code, "validation")
        sound[f"val{code}"] = label
    add("nanvalence", 1, valence="nan", arousal="")
    add("nanlandmarks", 0, landmarks=";".join(["nan"] * 136))  # not read: the mesh finds the face
    add("same", 1)
    add("same", 1, valence="0.9")
    sound |= {"nanvalence": "happiness", "nanlandmarks": "neutral", "same": "happiness"}
    add("conflict", 0)
    add("conflict", 1)
    add("eleven", 11)
    add("minus", -1)
    add("nan", "nan")
    add("none", 8)
    add("nobox", 1, box="nan,nan,nan,nan")
    add("missing", 1, file=False)
    add("z" * 300, 1, file=False)
    add("../../../outside", 1, file=False)
    portrait.save(raw / "outside.jpg")
    portrait.save(raw / IMAGES / "1" / "unlisted.jpg")
    (raw / "Manually_Annotated_file_lists").mkdir()
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    for name, lines in lists.items():
        (raw / "Manually_Annotated_file_lists" / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n")

    options = OPTIONS | {"classes": ["neutral", "happiness"], "held_out": 0.2}
    settings = {"seed": 0, "workers": 1, "mirror": None, "progress": False}
    prepare("affectnet", options, raw, tmp_path / "store", work=tmp_path / "work", **settings)
    store = FaceStore(tmp_path / "store", SIZE)
    assert dict(zip(store.table["source"], store.table["expression"], strict=True)) == {
        f"{IMAGES}/1/{name}.jpg": label for name, label in sound.items()
    }
    outside = "listed with a path that is not below the images' folder"
    assert {tuple(row) for row in store.quarantine().to_numpy().tolist()} == {
        (f"{IMAGES}/1/conflict.jpg", "listing", "listed with different codes: 0, 1"),
        (f"{IMAGES}/1/eleven.jpg", "listing", "unknown code '11'"),
        (f"{IMAGES}/1/minus.jpg", "listing", "unknown code '-1'"),
        (f"{IMAGES}/1/nan.jpg", "listing", "unknown code 'nan'"),
        (f"{IMAGES}/1/none.jpg", "selection", "labelled none: no expression"),
        (f"{IMAGES}/1/nobox.jpg", "listing", "listed without a face box"),
        (f"{IMAGES}/1/missing.jpg", "listing", "listed, but there is no such file"),
        (f"{IMAGES}/1/{'z' * 300}.jpg", "listing", "listed, but there is no such file"),
        (f"{IMAGES}/1/unlisted.jpg", "listing", "in neither list"),
        (f"{IMAGES}/1/../../../outside.jpg", "listing", outside),
    }


def test_landmarks_that_are_not_numbers_cost_one_face(tmp_path: Path, portrait: Image.Image) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    places = np.full((68, 2), 130.0)
    places[36:42], places[42:48] = (110, 100), (150, 100)
    places[30], places[48], places[54] = (130, 125), (113, 145), (147, 145)
    rows = []
    for number in range(6):
        portrait.crop((0, number, 256, 256)).save(raw / f"{number}.png")
        points = ";".join(f"{value:.1f}" for value in places.ravel())
        if number == 2:
            points = "nan" + points[points.index(";") :]
        split = ("train", "val", "test")[number // 2]
        rows.append((f"{number}.png", ("smile", "frown")[number % 2], split, points))
    pd.DataFrame(rows, columns=["path", "expression", "split", "landmarks"]).to_csv(raw / "list.csv", index=False)
    store = prepare_folder(tmp_path, raw, csv="list.csv", landmarks="precomputed", annotations=[])
    assert store.table["source"].tolist() == ["0.png", "1.png", "3.png", "4.png", "5.png"]
    reason = "expected 136 numbers (68 landmarks, x then y), but 1 of them are not finite"
    assert store.quarantine().to_numpy().tolist() == [["2.png", "landmarks", reason]]


def test_cfee_and_folder_find_names_whatever_their_accents_are_made_of(tmp_path: Path, portrait: Image.Image) -> None:
    composed, apart = (unicodedata.normalize(form, "André.png") for form in ("NFC", "NFD"))
    rows = []
    for number in range(10):
        (tmp_path / str(number)).mkdir()
        portrait.crop((0, number, 256, 256)).save(tmp_path / str(number) / apart)
        rows.append((f"{number}/{composed}", ("happy", "sad")[number % 2], str(number)))
    frame = pd.DataFrame(rows, columns=["path", "label", "subject"])
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    frame.rename(columns={"label": "expression"}).to_csv(tmp_path / "list.csv", index=False)
    for listing in (cfee.index(tmp_path, {}, 0), folder.index(tmp_path, {"csv": "list.csv"}, 0)):
        assert set(listing.table["source"]) == {f"{number}/{apart}" for number in range(10)}
        assert not listing.quarantine
