from pathlib import Path
from typing import Any

import pytest

from mimik.datasets import celeba_hq
from mimik.datasets.celeba_lists import ATTRIBUTE_LIST, IDENTITY_LIST, MAPPINGS, hq_notes, hq_split, read_mapping
from mimik.errors import UserError
from tests.datasets.celeba_world import attribute_line, reasons, touch, write_attributes, write_mapping

ORIGINS = {0: 119_612, 1: 99_093, 2: 175_574, 27_999: 190_000, 28_000: 5, 28_499: 182_637, 28_500: 182_638, 29_999: 7}
"""Number in CelebA-HQ -> 0-based position in CelebA."""


def archive(raw: Path) -> Path:
    write_mapping(raw / MAPPINGS[0], ORIGINS)
    lines = [
        attribute_line(f"{orig + 1:06d}.jpg", ["Smiling"] if idx % 2 else ["Male"]) for idx, orig in ORIGINS.items()
    ]
    write_attributes(raw / ATTRIBUTE_LIST, sorted(lines))
    for idx in ORIGINS:
        touch(raw / "CelebA-HQ-img" / f"{idx}.jpg")
    return raw


def splits(listing: Any) -> dict[str, str]:
    return dict(zip(listing.table["id"], listing.table["split"], strict=True))


def test_attributes_come_from_celeba_through_the_mapping(tmp_path: Path) -> None:
    raw = archive(tmp_path)
    (raw / IDENTITY_LIST).write_text("119613.jpg 2880\n")
    celeba_hq.check(raw, {}, None)
    table = celeba_hq.index(raw, {}, 0).table.set_index("id")
    assert set(table.index) == {str(idx) for idx in ORIGINS}
    for idx in ORIGINS:
        row = table.loc[str(idx)]
        assert row["source"] == f"CelebA-HQ-img/{idx}.jpg"
        assert row["expression"] == ("smiling" if idx % 2 else "not_smiling")
        assert (row["attribute_Smiling"], row["attribute_Male"]) == (idx % 2, 1 - idx % 2)
        assert row["identity"] == ("2880" if idx == 0 else "")


def test_secgans_split_goes_by_the_number_and_the_official_one_by_the_origin(tmp_path: Path) -> None:
    raw = archive(tmp_path)
    secgan, official = (celeba_hq.index(raw, {"split": name}, 0) for name in ("secgan", "official"))
    assert splits(secgan) == {
        "0": "train", "1": "train", "2": "train", "27999": "train", "28000": "val", "28499": "val",
        "28500": "test", "29999": "test",
    }  # fmt: skip
    assert splits(official) == {
        "0": "train", "1": "train", "2": "val", "27999": "test", "28000": "train", "28499": "val",
        "28500": "test", "29999": "train",
    }  # fmt: skip
    assert splits(celeba_hq.index(raw, {}, 0)) == splits(secgan)
    assert "train 4, val 2, test 2 images are listed, but the complete set has train 28,000" in secgan.notes[0]
    assert "train 24,183, val 2,993, test 2,824" in official.notes[0]


def test_a_complete_mapping_is_told_to_be_complete(tmp_path: Path) -> None:
    # 24,183 origins before the first bound of g_partition.py, 2,993 between, 2,824 after the second.
    origins = [*range(138_588, 162_771), 162_771, *range(179_646, 182_638), *range(182_638, 185_462)]
    write_mapping(tmp_path / MAPPINGS[0], dict(enumerate(origins)))
    read = read_mapping(tmp_path / MAPPINGS[0])
    for split in ("official", "secgan"):
        (note,) = hq_notes(split, read, read)
        assert note.endswith("as in the complete set")
    assert hq_split("official", "30000.jpg", read) is None


def test_faults_of_mapping_and_list_cost_single_images(tmp_path: Path) -> None:
    raw = archive(tmp_path)
    text = (raw / ATTRIBUTE_LIST).read_text()
    lines = [line for line in text.splitlines()[2:] if not line.startswith("000008")]  # the origin of 29999.jpg
    lines = [line.replace(" -1", " 2", 1) if line.startswith("000006") else line for line in lines]  # of 28000.jpg
    write_attributes(raw / ATTRIBUTE_LIST, lines)
    mapping = (raw / MAPPINGS[0]).read_text()
    (raw / MAPPINGS[0]).write_text(mapping.replace("119613.jpg", "099094.jpg"))
    touch(raw / "CelebA-HQ-img" / "12.jpg")
    (raw / "CelebA-HQ-img" / "1.jpg").unlink()
    listing = celeba_hq.index(raw, {}, 0)
    found = {Path(path).stem: reason for path, (_, reason) in reasons(listing).items()}
    assert set(found) == {"29999", "28000", "12", "1"}
    assert "000008.jpg" in found["29999"] and "000006.jpg" in found["28000"]
    assert listing.table.set_index("id").loc["0", "expression"] == "smiling"  # of 099094.jpg
    assert any("1 of 8 images orig_file is not orig_idx + 1 (first: 0.jpg)" in note for note in listing.notes)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("orig_idx", "original", 1), ("28000\t", "one\t", 6), ("28000\t\t5\t\t000006.jpg", "28000 5", 6),
     ("27999\t", "2\t", 5)],
)  # fmt: skip
def test_a_broken_mapping_is_one_message_that_names_the_line(tmp_path: Path, old: str, new: str, line: int) -> None:
    path = archive(tmp_path) / MAPPINGS[0]
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=f"line {line}: expected"):
        celeba_hq.check(tmp_path, {}, None)


def test_attgans_layout_is_recognised(tmp_path: Path) -> None:
    raw = archive(tmp_path)
    expected = celeba_hq.index(raw, {}, 0).table
    (raw / MAPPINGS[0]).rename(raw / MAPPINGS[1])
    (raw / "celeba-hq").mkdir()
    (raw / "CelebA-HQ-img").rename(raw / "celeba-hq" / "celeba-512")
    table = celeba_hq.index(raw, {}, 0).table
    assert table["source"][0] == "celeba-hq/celeba-512/0.jpg"
    assert table.drop(columns="source").equals(expected.drop(columns="source"))


def test_what_is_missing_is_named_all_at_once(tmp_path: Path) -> None:
    archive(tmp_path)
    (tmp_path / MAPPINGS[0]).unlink()
    (tmp_path / ATTRIBUTE_LIST).unlink()
    with pytest.raises(UserError, match=f"{MAPPINGS[0]} or {MAPPINGS[1]}; {ATTRIBUTE_LIST} is missing"):
        celeba_hq.fetch(tmp_path, {}, None)
