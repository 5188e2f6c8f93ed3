from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.datasets import cfee
from mimik.datasets.cfee import BASIC, CATEGORIES
from mimik.datasets.listing import incomplete
from mimik.errors import UserError
from tests.datasets import cfee_world
from tests.datasets.cfee_world import write


def photo(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def release(raw: Path, subjects: int = 10) -> list[tuple[str, str, str]]:
    numbers = iter(range(22 * subjects))
    return cfee_world.release(raw, lambda path: photo(path, next(numbers)), subjects)


def test_the_basic_categories_are_kept_by_default_and_subjects_stay_together(tmp_path: Path) -> None:
    write(tmp_path, release(tmp_path))
    cfee.check(tmp_path, {}, None)
    listing = cfee.index(tmp_path, {}, 0)
    assert len(CATEGORIES) == 22
    assert len(listing.table) == 70
    assert set(listing.table.groupby("expression").size()) == {10}
    assert set(listing.table["expression"]) == set(BASIC)
    row = listing.table.set_index("source").loc["Basic/3_4.png"]
    assert (row["expression"], row["identity"]) == ("fear", "s3")
    assert dict(listing.table.groupby("split")["identity"].nunique()) == {"train": 8, "val": 1, "test": 1}
    assert len(listing.quarantine) == 150
    assert ("Compound/0_7.png", "selection", "category happily_surprised is not among `classes`") in listing.quarantine
    assert [str(total) for total in listing.totals] == [
        "220 of 220 photographs that manifest.csv lists",
        "220 of 5,060 photographs",
        "10 of 230 subjects",
        "22 of 22 categories",
    ]
    assert len(incomplete(listing)) == 2
    assert listing.layout == "labelled by manifest.csv"
    whole = cfee.index(tmp_path, {"classes": list(CATEGORIES)}, 0)
    assert (len(whole.table), whole.quarantine) == (220, [])


def test_every_planted_fault_is_told_once(tmp_path: Path) -> None:
    rows = release(tmp_path)
    photo(tmp_path / "unlisted.png", 9001)
    photo(tmp_path / "twice.png", 9002)
    photo(tmp_path / "clash.png", 9003)
    photo(tmp_path / "nobody.png", 9004)
    photo(tmp_path / "bored.png", 9005)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    photo(tmp_path / "copy.png", 0)  # the bytes of Basic/0_0.png
    rows += [
        ("twice.png", "happy", "s1"),
        ("./twice.png", "happy", "s1"),
        ("clash.png", "happy", "s1"),
        ("clash.png", "sad", "s1"),
        ("nobody.png", "happy", ""),
        ("bored.png", "bored", "s1"),
        ("empty.png", "happy", "s1"),
        ("text.png", "happy", "s1"),
        ("gone.png", "happy", "s1"),
        ("../out.png", "happy", "s1"),
        ("copy.png", "neutral", "s0"),
    ]
    listing = cfee.index(write(tmp_path, rows), {"classes": list(CATEGORIES)}, 0)
    assert listing.quarantine == sorted(
        (path, "listing", reason)
        for path, reason in {
            "../out.png": "listed with a path that is not below data/raw/cfee",
            "bored.png": "unknown label 'bored'",
            "clash.png": "listed with different labels or subjects",
            "copy.png": "same bytes as Basic/0_0.png",
            "empty.png": "an empty file",
            "gone.png": "listed, but there is no such file",
            "nobody.png": "listed without a subject",
            "text.png": "not a readable image",
            "unlisted.png": "not listed in manifest.csv",
        }.items()
    )
    assert len(listing.table) == 220 + 1
    assert listing.table.set_index("source").loc["twice.png", "expression"] == "happiness"


@pytest.mark.parametrize(
    "label", ["Happily Surprised", "happily-surprised", "HAPPILY_SURPRISED", " happily  surprised"]
)
def test_labels_are_read_in_any_spelling(tmp_path: Path, label: str) -> None:
    rows = release(tmp_path)
    rows[7] = (rows[7][0], label, rows[7][2])
    table = cfee.index(write(tmp_path, rows), {"classes": list(CATEGORIES)}, 0).table
    assert table.set_index("source").loc[rows[7][0], "expression"] == "happily_surprised"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"classes": ["happy", "sad"]}, "datasets.cfee.classes"),
        ({"split": {"train": 1}}, "datasets.cfee.split"),
        ({"csv": "../manifest.csv"}, "datasets.cfee.csv"),
        ({"csv": "other.csv"}, "other.csv: no such file"),
    ],
)
def test_unusable_options_fail_in_check(tmp_path: Path, options: Mapping[str, object], told: str) -> None:
    write(tmp_path, release(tmp_path, 1))
    with pytest.raises(UserError, match=told):
        cfee.check(tmp_path, options, None)


def test_without_the_manifest_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.csv: no such file") as caught:
        cfee.check(tmp_path / "cfee", {}, None)
    assert "columns path, label and subject" in str(caught.value)
    write(tmp_path, [])
    with pytest.raises(UserError, match="lists no photograph"):
        cfee.fetch(tmp_path, {}, None)
    (tmp_path / "manifest.csv").write_text("path,label\na.png,happy\n")
    with pytest.raises(UserError, match="the column 'subject' is missing"):
        cfee.check(tmp_path, {}, None)
