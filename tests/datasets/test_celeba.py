import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mimik.datasets import celeba
from mimik.datasets.celeba_lists import ATTRIBUTE_LIST, IDENTITY_LIST
from mimik.errors import UserError
from mimik.labels import CELEBA_ATTRIBUTES, SECGAN_ATTRIBUTES
from tests.datasets.celeba_world import attribute_line, reasons, touch, write_attributes

NUMBERS = [*range(1, 21), *range(181_999, 182_004), *range(182_636, 182_641), 202_599]
"""Files of the small archive: some at both bounds of AttGAN's split."""


def ones(number: int) -> list[str]:
    return ["Young", *(["Smiling"] if number % 2 else []), *(["Male"] if number % 3 == 0 else [])]


def partition(number: int) -> int:
    """As in the official list, whose bounds are the files 162,770 and 182,637, but with files 15 to 20 as val."""
    return 2 if number > 182_637 else 1 if number > 162_770 or 15 <= number <= 20 else 0


class Archive:
    """The archive in the making; `lines` and `partition` may be changed before `write`."""

    def __init__(self, raw: Path) -> None:
        self.raw = raw
        self.lines = [attribute_line(f"{number:06d}.jpg", ones(number)) for number in NUMBERS]
        self.partition = [f"{number:06d}.jpg {partition(number)}" for number in NUMBERS]
        for number in NUMBERS:
            touch(raw / "img_align_celeba" / f"{number:06d}.jpg")

    def write(self, **options: Any) -> Path:
        write_attributes(self.raw / ATTRIBUTE_LIST, self.lines, **options)
        (self.raw / celeba.PARTITION_LIST).write_text("\n".join(self.partition) + "\n")
        return self.raw


def split_of(table: Any) -> dict[int, str]:
    return {int(name): split for name, split in zip(table["id"], table["split"], strict=True)}


def test_rows_have_expression_attributes_and_person(tmp_path: Path) -> None:
    raw = Archive(tmp_path).write()
    (raw / IDENTITY_LIST).write_text("000001.jpg 2880\n000002.jpg 2937\n000003.jpg 8\n000003.jpg 9\n")
    celeba.check(raw, {}, None)
    listing = celeba.index(raw, {}, 0)
    table = listing.table.set_index("id")
    assert not listing.quarantine and len(table) == len(NUMBERS)
    assert table.loc["000001", ["source", "expression", "identity"]].tolist() == [
        "img_align_celeba/000001.jpg", "smiling", "2880"
    ]  # fmt: skip
    assert table.loc["000002", "expression"] == "not_smiling" and table.loc["000002", "identity"] == "2937"
    assert table.loc["000003", "identity"] == table.loc["000004", "identity"] == ""  # contradictory; not listed
    columns = [f"attribute_{name}" for name in CELEBA_ATTRIBUTES]
    assert [name for name in table.columns if name.startswith("attribute_")] == columns and len(columns) == 40
    for number in NUMBERS:
        row = table.loc[f"{number:06d}", columns]
        assert [name for name, value in zip(CELEBA_ATTRIBUTES, row, strict=True) if value == 1] == sorted(ones(number))
        assert set(row) == {0, 1}
    assert {f"attribute_{name}" for name in SECGAN_ATTRIBUTES} <= set(columns) and len(SECGAN_ATTRIBUTES) == 13


def test_the_official_split_is_that_of_the_list_and_its_sizes_are_told(tmp_path: Path) -> None:
    listing = celeba.index(Archive(tmp_path).write(), {"split": "official"}, 0)
    names = ("train", "val", "test")
    assert split_of(listing.table) == {number: names[partition(number)] for number in NUMBERS}
    (note,) = listing.notes
    assert "train 14, val 13, test 4 images are listed" in note and "162,770" in note and "19,867" in note


def test_attgans_split_goes_by_the_number_of_the_file(tmp_path: Path) -> None:
    raw = Archive(tmp_path).write()
    (raw / celeba.PARTITION_LIST).unlink()  # not needed
    splits = split_of(celeba.index(raw, {"split": "attgan"}, 0).table)
    assert splits[1] == splits[182_000] == "train"
    assert splits[182_001] == splits[182_637] == "val"
    assert splits[182_638] == splits[202_599] == "test"


def test_stargans_split_is_that_of_its_public_code(tmp_path: Path) -> None:
    raw = Archive(tmp_path).write()
    options = {"split": "stargan", "held_out": 4}
    splits = split_of(celeba.index(raw, options, 1).table)
    assert splits == split_of(celeba.index(raw, options, 2).table)
    assert Counter(splits.values()) == {"train": len(NUMBERS) - 8, "val": 4, "test": 4}
    # That code shuffles the list's lines with Python's generator, seeded with 1234, and tests on the first ones.
    lines = (raw / "list_attr_celeba.txt").read_text().splitlines()[2:]
    random.seed(1234)
    random.shuffle(lines)
    assert {number for number, split in splits.items() if split == "test"} == {int(line[:6]) for line in lines[:4]}


def test_stargans_test_set_is_independent_of_images_that_are_missing(tmp_path: Path) -> None:
    raw = Archive(tmp_path).write()
    options = {"split": "stargan", "held_out": 4}
    whole = split_of(celeba.index(raw, options, 1).table)
    gone = next(number for number, split in whole.items() if split == "test")
    (raw / "img_align_celeba" / f"{gone:06d}.jpg").unlink()
    assert split_of(celeba.index(raw, options, 1).table) == {n: split for n, split in whole.items() if n != gone}


def test_stargans_split_leaves_images_to_train_on(tmp_path: Path) -> None:
    raw = Archive(tmp_path).write()
    with pytest.raises(UserError, match="held_out"):
        celeba.index(raw, {"split": "stargan"}, 1)  # 1,999 of 31


def test_planted_faults_are_in_the_quarantine_once_and_cost_nothing_else(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.lines[0] = archive.lines[0].replace("-1", " 0", 1)
    archive.lines.append(attribute_line("000002.jpg", ["Smiling"]))  # contradicts
    archive.lines.append(archive.lines[2])  # says the same again
    archive.lines.append(attribute_line("../secret.jpg"))
    archive.lines.append(attribute_line("000030.jpg"))
    archive.partition[3] = "000004.jpg 7"
    del archive.partition[4]
    touch(tmp_path / "img_align_celeba" / "000099.jpg")
    (tmp_path / "img_align_celeba" / "000006.jpg").unlink()
    (tmp_path / "img_align_celeba" / "Thumbs.db").touch()
    listing = celeba.index(archive.write(), {}, 0)
    found = {Path(path).stem: excuse for path, excuse in reasons(listing).items()}
    assert {stage for stage, _ in found.values()} == {"listing"}
    assert set(found) == {"000001", "000002", "secret", "000030", "000004", "000005", "000099", "000006"}
    assert "other than 1 and -1" in found["000001"][1] and found["000001"][1].endswith(": 0")
    assert "listed twice" in found["000002"][1]
    assert "name that no image" in found["secret"][1]
    assert found["000030"][1] == found["000006"][1] == "listed, but there is no such file"
    assert celeba.PARTITION_LIST in found["000004"][1] and celeba.PARTITION_LIST in found["000005"][1]
    assert found["000099"][1] == "not in the list of attributes"
    kept = {f"{number:06d}" for number in NUMBERS} - {"000001", "000002", "000004", "000005", "000006"}
    assert set(listing.table["id"]) == kept


def test_options_leave_out_classes_and_what_is_above_the_cap(tmp_path: Path) -> None:
    raw = Archive(tmp_path).write()
    listing = celeba.index(raw, {"per_class": 2}, 3)
    counts = Counter(zip(listing.table["split"], listing.table["expression"], strict=True))
    assert set(counts.values()) == {2} and len(counts) == 6
    left_out = reasons(listing)
    assert {stage for stage, _ in left_out.values()} == {"selection"}
    assert len(left_out) + len(listing.table) == len(NUMBERS)
    assert set(celeba.index(raw, {"per_class": 2}, 4).table["id"]) != set(listing.table["id"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda raw: (raw / ATTRIBUTE_LIST).write_text(""), "empty"),
        (lambda raw: (raw / ATTRIBUTE_LIST).write_bytes(b"\xff\xfe\x00"), "expected a text"),
        (lambda raw: (raw / ATTRIBUTE_LIST).write_text("2\nSmiling Male\na.jpg 1 1\n"), "line 2: expected the names"),
        (lambda raw: cut(raw / ATTRIBUTE_LIST, lines=3), "line 1: expected the number"),
        (
            lambda raw: cut(raw / ATTRIBUTE_LIST, characters=9),
            f"line {len(NUMBERS) + 2}: expected .* 40 values, found 3",
        ),
        (lambda raw: cut(raw / celeba.PARTITION_LIST, characters=3), f"line {len(NUMBERS)}: expected the name"),
        (lambda raw: (raw / ATTRIBUTE_LIST).unlink(), "list_attr_celeba.txt or Anno/list_attr_celeba.txt is missing"),
        (lambda raw: (raw / "img_align_celeba").rename(raw / "images"), "img_align_celeba .* is missing"),
    ],
)
def test_a_broken_archive_is_one_message_that_names_the_place(tmp_path: Path, change: Any, told: str) -> None:
    raw = Archive(tmp_path).write()
    celeba.check(raw, {}, None)
    change(raw)
    for step in (lambda: celeba.check(raw, {}, None), lambda: celeba.index(raw, {}, 0)):
        with pytest.raises(UserError, match=told) as caught:
            step()
        assert str(raw) in str(caught.value) and "\n" not in str(caught.value)


def cut(path: Path, lines: int = 0, characters: int = 0) -> None:
    """Take lines or characters off the end of a text."""
    text = path.read_text().rstrip("\n").split("\n")
    kept = "\n".join(text[: len(text) - lines])
    path.write_text(kept[: len(kept) - characters] if characters else kept)


def test_the_authors_folders_are_read_too(tmp_path: Path) -> None:
    raw = Archive(tmp_path).write()
    expected = celeba.index(raw, {}, 0).table
    for name, folder in ((ATTRIBUTE_LIST, "Anno"), (celeba.PARTITION_LIST, "Eval"), ("img_align_celeba", "Img")):
        (raw / folder).mkdir()
        (raw / name).rename(raw / folder / name)
    table = celeba.index(raw, {}, 0).table
    assert table["source"][0] == "Img/img_align_celeba/000001.jpg"
    assert table.drop(columns="source").equals(expected.drop(columns="source"))


@pytest.mark.parametrize(
    "wrong", [{"split": "random"}, {"held_out": 0}, {"per_class": 0}, {"per_class": 1.5}, {"classes": ["happiness"]}]
)
def test_unusable_options_are_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"datasets\.celeba\.{next(iter(wrong))}"):
        celeba.check(Archive(tmp_path).write(), wrong, None)


def test_without_the_archive_the_error_says_where_to_get_it_and_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mmlab\.ie\.cuhk\.edu\.hk") as caught:
        celeba.fetch(tmp_path / "celeba", {}, None)
    for part in ("img_align_celeba", ATTRIBUTE_LIST, celeba.PARTITION_LIST, "data/raw/celeba/"):
        assert part in str(caught.value)
