"""Contact sheets of a small store of photographs: which are drawn, what is on them, the same every time."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.errors import UserError
from mimik.faces.prepared.store import TRANSFORM, FaceStore
from mimik.inspection.contact_sheets import (
    CAPTION_LINES,
    EMPTY,
    SHEETS,
    Row,
    Tile,
    _font,
    check_free,
    compose,
    draw_sheets,
    size_drawn,
    wrapped,
)
from mimik.reporting.mosaics import DISPLAYED
from mimik.storage.files import file_sha256
from tests.tiny import make_described_store


def test_the_sheets_of_photographs(tmp_path: Path) -> None:
    store, raw = make_described_store(tmp_path)
    written = draw_sheets(store, raw, tmp_path / "sheets")
    assert [path.name for path in written] == ["classes.png", "annotations.png", "accepted.png", "rejected.png"]
    for path in written:
        with Image.open(path) as sheet:
            sheet.load()
            assert min(sheet.size) > DISPLAYED
    again = draw_sheets(store, raw, tmp_path / "again")
    assert [file_sha256(path) for path in again] == [file_sha256(path) for path in written]


def test_every_class_has_a_row_and_faces_without_a_label_too(tmp_path: Path) -> None:
    from mimik.inspection.contact_sheets import _classes

    store, _ = make_described_store(tmp_path)
    rows = _classes(store, 0)
    assert [row.label for row in rows] == [*store.classes, "(no label)"]
    labels = store.labels()
    for label, row in zip((0, 1, 2, 3, -1), rows, strict=True):
        own = {store.table["id"][position] for position in np.flatnonzero(labels == label)}
        shown = [tile.caption.split("\n")[1] for tile in row.tiles]
        assert len(set(shown)) == len(shown) == min(10, len(own))
        assert set(shown) <= own
    others = [tile.caption for tile in _classes(store, 1)[0].tiles]
    assert others != [tile.caption for tile in rows[0].tiles]


def test_rejected_photographs_have_their_reason_and_damaged_ones_an_empty_place(tmp_path: Path) -> None:
    from mimik.inspection.contact_sheets import _rejected

    store, raw = make_described_store(tmp_path)
    rows = _rejected(store, raw, 0)
    assert [row.label for row in rows] == ["landmarks (1)", "read (1)"]
    assert rows[0].tiles[0].caption == "no face found\nwall.png"
    assert rows[0].tiles[0].picture is not None
    assert rows[1].tiles[0].picture is None
    sheet = np.asarray(compose("", rows[1:]))
    assert (sheet == EMPTY).all(axis=-1).sum() > DISPLAYED * DISPLAYED / 2


def test_of_faces_that_failed_the_quality_the_aligned_face_is_shown(tmp_path: Path) -> None:
    from mimik.inspection.contact_sheets import _rejected

    store, raw = make_described_store(tmp_path)
    colours = np.random.default_rng(2).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(colours).save(raw / "wall.png")
    with (store.directory / "quarantine.csv").open("a") as opened:
        opened.write('wall.png,quality,"yaw +50.0°, limit 40°"\n')
    with pytest.raises(UserError, match=r"refused\.csv"):
        _rejected(store, raw, 0)
    sixteenth = 1 / 16
    (store.directory / "refused.csv").write_text(
        "path," + ",".join(TRANSFORM) + f",yaw\nwall.png,{sixteenth},0,{-5 * sixteenth},0,{sixteenth},{-sixteenth},50\n"
    )
    rows = {row.label: row.tiles[0] for row in _rejected(store, raw, 0)}
    assert np.array_equal(rows["quality (1)"].picture, colours[1:17, 5:21])
    assert rows["quality (1)"].caption == "yaw +50.0°, limit 40°\nwall.png"
    assert rows["landmarks (1)"].picture.shape == (20, 30, 3)


def test_without_the_archive_there_is_no_sheet_of_rejected_photographs_not_even_an_old_one(tmp_path: Path) -> None:
    store, raw = make_described_store(tmp_path)
    draw_sheets(store, raw, tmp_path / "sheets")
    assert (tmp_path / "sheets" / "rejected.png").exists()
    shutil.rmtree(raw)
    written = draw_sheets(store, raw, tmp_path / "sheets")
    assert [path.name for path in written] == ["classes.png", "annotations.png", "accepted.png"]
    assert not (tmp_path / "sheets" / "rejected.png").exists()


def test_what_is_not_stored_is_not_drawn(tmp_path: Path) -> None:
    from mimik.inspection.contact_sheets import _annotations

    store, _ = make_described_store(tmp_path)
    assert [row.label for row in _annotations(store, 0)] == ["face", "masks"]
    (store.directory / "masks_16.npy").unlink()
    assert _annotations(FaceStore(store.directory, 16), 0) == []


def test_a_small_picture_keeps_its_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    sheet = np.asarray(compose("", [Row("", [Tile(picture)])]))
    assert np.array_equal(sheet[44 : 44 + 128, 12 : 12 + 128], np.repeat(np.repeat(picture, 8, 0), 8, 1))


@pytest.mark.parametrize(("sizes", "drawn"), [([64, 256], 256), ([64, 128, 256], 128), ([32, 64], 64)])
def test_the_size_that_is_drawn(sizes: list[int], drawn: int) -> None:
    assert size_drawn(sizes) == drawn


def test_captions_are_broken_where_they_must_be() -> None:
    font = _font(10)
    assert wrapped("no face\nä.png", font, 128) == ["no face", "ä.png"]
    lines = wrapped("x" * 60 + " is a name", font, 128)
    assert "".join(lines).replace(" ", "") == "x" * 60 + "isaname"
    assert all(font.getlength(line) <= 128 for line in lines)
    cut = wrapped("word " * 200, font, 128)
    assert len(cut) == CAPTION_LINES
    assert cut[-1].endswith("…")
    assert font.getlength(cut[-1]) <= 128


def test_classes_are_drawn_independently(tmp_path: Path) -> None:
    from mimik.inspection.contact_sheets import _classes
    from tests.tiny import make_store

    store = make_store(tmp_path, count=400)
    people = [[int(tile.caption.split("\nf")[1]) // 4 for tile in row.tiles] for row in _classes(store, 0)]
    assert [len(row) for row in people] == [10, 10, 10, 10]
    assert people[0] != people[1] != people[2] != people[3]


def test_pictures_of_somebody_else_are_neither_replaced_nor_removed(tmp_path: Path) -> None:
    store, raw = make_described_store(tmp_path)
    check_free(tmp_path / "sheets")
    draw_sheets(store, raw, tmp_path / "sheets")
    check_free(tmp_path / "sheets")  # its own may be replaced
    for name in SHEETS:
        folder = tmp_path / name
        folder.mkdir()
        Image.new("RGB", (4, 4)).save(folder / f"{name}.png")
        with pytest.raises(UserError, match=rf"{name}\.png: already exists and was not written by mimik"):
            check_free(folder)
