import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.datasets import open_faces
from mimik.datasets.open_faces import ARCHIVE, FOLDER
from mimik.errors import UserError
from mimik.mirror import VARIABLE


@pytest.fixture(autouse=True)
def no_mirror_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def photo(path: Path, number: int, mode: str = "L", kind: str = "JPEG") -> None:
    """A small picture whose bytes depend on `number`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, kind)


def clean(root: Path, people: int = 40) -> list[tuple[str, str]]:
    """A sound set: `people` persons with one to three photos each; returns the rows (image, emotion)."""
    rows = []
    for person in range(people):
        for picture in range(1, 2 + person % 3):
            name = f"Person_{person}_{picture:04d}.jpg"
            photo(root / "images" / name, 10 * person + picture)
            rows.append((name, ("neutral", "Happiness")[person % 2]))
    return rows


def write_legend(root: Path, rows: list[tuple[str, str]]) -> None:
    (root / "data").mkdir(parents=True, exist_ok=True)
    lines = ["user.id,image,emotion", *(f"628,{image},{emotion}" for image, emotion in rows)]
    (root / "data" / "legend.csv").write_text("\n".join(lines) + "\n")


def quarantined(listing: open_faces.Listing) -> dict[str, tuple[str, str]]:
    entries = {path: (stage, reason) for path, stage, reason in listing.quarantine}
    assert len(entries) == len(listing.quarantine)
    return entries


def test_every_planted_fault_is_left_out_once_with_its_reason(tmp_path: Path) -> None:
    rows = clean(tmp_path)
    usable = len(rows)

    def plant(name: str, *labels: str, number: int, mode: str = "L", kind: str = "JPEG") -> None:
        photo(tmp_path / "images" / name, number, mode, kind)
        rows.extend((name, label) for label in labels)

    plant("Avinash_30.jpg", "SURPRISE", "SADNESS", number=1000)
    plant("Twice_Same_0001.jpg", "neutral", "NEUTRAL", number=1001)
    plant("Odd_Label_0001.jpg", "sad", number=1002)
    plant("Not_Chosen_0001.jpg", "disgust", number=1003)
    plant("Actor_77.jpg", "HAPPINESS", number=1004, mode="RGB")
    plant("Web_1.jpg", "HAPPINESS", number=1005, mode="RGB", kind="WEBP")
    plant("No_Row_0001.jpg", number=1006)
    plant("Same_A_0001.jpg", "neutral", number=1007)
    plant("Same_B_0001.jpg", "neutral", number=1007)
    plant("Clash_A_0001.jpg", "neutral", number=1008)
    plant("Clash_B_0001.jpg", "happiness", number=1008)
    plant("Rare_A_0001.jpg", "surprise", number=1010)
    plant("Rare_B_0001.jpg", "sadness", number=1011)
    rows.append(("No_File_0001.jpg", "neutral"))
    (tmp_path / "images" / "Broken_0001.jpg").write_bytes(b"not an image")
    rows.append(("Broken_0001.jpg", "neutral"))
    photo(tmp_path / "test" / "unknown.jpg", 1009)
    (tmp_path / "images" / ".DS_Store").write_bytes(b"")
    write_legend(tmp_path, rows)
    # The other annotator disagrees about everything; the file must not matter.
    (tmp_path / "data" / "500_picts_satz.csv").write_text(
        "\r".join(f"906,{image},sad" for image, _ in rows), newline=""
    )

    listing = open_faces.index(tmp_path, {"classes": ["neutral", "happiness", "surprise", "sadness"]}, 0)
    out = quarantined(listing)
    assert out == {
        "images/Avinash_30.jpg": ("listing", "listed with different labels: sadness, surprise"),
        "images/Odd_Label_0001.jpg": ("listing", "unknown label 'sad'"),
        "images/Not_Chosen_0001.jpg": ("selection", "expression disgust is not among `classes`"),
        "images/Actor_77.jpg": ("selection", "coloured (RGB), and `include_rgb` is false"),
        "images/Web_1.jpg": ("selection", "coloured (RGB), and `include_rgb` is false"),
        "images/No_Row_0001.jpg": ("listing", "not listed in data/legend.csv"),
        "images/Same_B_0001.jpg": ("listing", "same bytes as Same_A_0001.jpg"),
        "images/Clash_A_0001.jpg": ("listing", "same bytes as Clash_B_0001.jpg, with another label"),
        "images/Clash_B_0001.jpg": ("listing", "same bytes as Clash_A_0001.jpg, with another label"),
        "images/No_File_0001.jpg": ("listing", "listed in data/legend.csv, but there is no such file"),
        "images/Broken_0001.jpg": ("listing", "not a readable image"),
        "test/unknown.jpg": ("selection", "no label: in the folder test/"),
    }
    assert len(listing.table) == usable + 4  # Twice_Same, Same_A and the rare ones
    assert set(listing.table["expression"]) == {"neutral", "happiness", "surprise", "sadness"}
    assert not set(listing.table["source"]) & set(out)
    assert list(listing.table.columns) == ["id", "split", "source", "expression", "identity"]
    row = listing.table.set_index("id").loc["Person_2_0003"]
    assert (row["source"], row["expression"], row["identity"]) == (
        "images/Person_2_0003.jpg",
        "neutral",
        "Person_2",
    )
    assert all((tmp_path / source).is_file() for source in listing.table["source"])
    assert listing.table["id"].is_unique


def test_coloured_stills_on_request_keep_an_actor_in_one_split(tmp_path: Path) -> None:
    rows = clean(tmp_path)
    for number in range(30):
        for name, first in ((f"Actor{number % 3}_{number}.jpg", 2000), (f"press-{number}k.jpg", 3000)):
            photo(tmp_path / "images" / name, first + number, "RGB")
            rows.append((name, "anger"))
    write_legend(tmp_path, rows)
    listing = open_faces.index(tmp_path, {"include_rgb": True}, 0)
    assert listing.quarantine == []
    table = listing.table
    assert len(table) == len(rows)
    actors = table[table["identity"].str.startswith("Actor")]
    assert len(actors) == 30
    assert (actors.groupby("identity")["split"].nunique() == 1).all()
    press = table[table["id"].str.startswith("press")]
    assert set(press["identity"]) == {""}
    assert press["split"].nunique() == 3  # an unknown person is nobody's twin


def test_split_is_by_person_stratified_and_seeded(tmp_path: Path) -> None:
    write_legend(tmp_path, clean(tmp_path, people=200))
    first = open_faces.index(tmp_path, {}, 0).table
    assert (first.groupby("identity")["split"].nunique() == 1).all()
    shares = first.groupby("expression")["split"].value_counts(normalize=True)
    for expression in ("neutral", "happiness"):
        assert shares[expression, "train"] == pytest.approx(0.8, abs=0.02)
        assert shares[expression, "val"] == pytest.approx(0.1, abs=0.02)
        assert shares[expression, "test"] == pytest.approx(0.1, abs=0.02)
    assert first.equals(open_faces.index(tmp_path, {}, 0).table)
    other = open_faces.index(tmp_path, {}, 1).table
    assert (first["id"] == other["id"]).all()
    assert (first["split"] != other["split"]).mean() > 0.1
    halves = open_faces.index(tmp_path, {"split": {"train": 0.5, "val": 0.25, "test": 0.25}}, 0).table
    assert (halves["split"] == "train").mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"classes": ["neutral", "joy"]}, "datasets.open_faces.classes"),
        ({"classes": ["neutral"]}, "at least two"),
        ({"classes": ["neutral", "neutral"]}, "different"),
        ({"classes": "neutral"}, "datasets.open_faces.classes"),
        ({"include_rgb": "no"}, "neither true nor false"),
        ({"split": {"train": 0.8, "val": 0.1}}, "datasets.open_faces.split"),
        ({"split": {"train": 0.9, "val": 0.1, "test": 0.1}}, "add up to 1"),
        ({"split": {"train": 1.0, "val": 0.0, "test": 0.0}}, "positive"),
    ],
)
def test_unusable_options_fail_in_check(tmp_path: Path, options: Mapping[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        open_faces.check(tmp_path, options, None)


def test_empty_split_is_named_with_counts_and_reasons(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "A_0001.jpg", 1)
    photo(tmp_path / "images" / "B_0001.jpg", 2, "RGB")
    write_legend(tmp_path, [("A_0001.jpg", "neutral"), ("B_0001.jpg", "neutral")])
    with pytest.raises(UserError, match="train 1, val 0, test 0") as caught:
        open_faces.index(tmp_path, {}, 0)
    assert "1 x coloured (RGB)" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"user.id,image\n1,a.jpg\n", "column 'emotion' is missing"),
        (b"user.id,image,emotion\n1,a.jpg,neutral,more\n", "line 2: 4 fields"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"user.id,image,emotion\n1,a.jpg\n", "line 2: 2 fields"),
        (b"", "column 'image' is missing"),
    ],
)
def test_unreadable_legend_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    clean(tmp_path, people=2)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "legend.csv").write_bytes(content)
    with pytest.raises(UserError, match=told) as caught:
        open_faces.index(tmp_path, {}, 0)
    assert str(tmp_path / "data" / "legend.csv") in str(caught.value)


def test_nothing_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mirror=FOLDER"):
        open_faces.index(tmp_path, {}, 0)


def pack(root: Path, mirror: Path, top: str = FOLDER) -> None:
    mirror.mkdir()
    with tarfile.open(mirror / ARCHIVE, "w:gz") as opened:
        opened.add(root, top)


def test_archive_of_the_mirror_is_unpacked_once(tmp_path: Path) -> None:
    write_legend(tmp_path / "made", clean(tmp_path / "made"))
    pack(tmp_path / "made", tmp_path / "mirror")
    raw = tmp_path / "raw"
    open_faces.check(raw, {}, tmp_path / "mirror")
    open_faces.fetch(raw, {}, tmp_path / "mirror")
    listing = open_faces.index(raw, {}, 0)
    assert all(source.startswith(f"{FOLDER}/images/") for source in listing.table["source"])
    assert all((raw / source).is_file() for source in listing.table["source"])
    (tmp_path / "mirror" / ARCHIVE).unlink()
    open_faces.check(raw, {}, None)
    open_faces.fetch(raw, {}, None)  # would download otherwise
    in_clone = open_faces.index(tmp_path / "made", {}, 0)
    assert in_clone.table["id"].equals(listing.table["id"])
    assert in_clone.table["split"].equals(listing.table["split"])


def test_another_archive_under_the_name_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "made" / "pictures" / "a.jpg", 1)
    pack(tmp_path / "made", tmp_path / "mirror")
    with pytest.raises(UserError, match=r"images/ and data/legend\.csv are not in it"):
        open_faces.fetch(tmp_path / "raw", {}, tmp_path / "mirror")


def test_mirror_that_does_not_exist_fails_in_check(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        open_faces.check(tmp_path / "raw", {}, tmp_path / "typo")
