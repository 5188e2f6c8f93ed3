import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mimik.datasets import rafd
from mimik.datasets.listing import Listing, incomplete
from mimik.errors import UserError
from mimik.labels import EXPRESSIONS
from mimik.settings import params
from tests.datasets import rafd_world
from tests.datasets.rafd_world import ANGLES, WORDS

ROOT = Path(__file__).parents[2]
ADULTS = ("01_Caucasian_female", "02_Caucasian_male", "29_Moroccan_male", "37_Caucasian_female", "73_Moroccan_male")
KID = "65_Kid_female"


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((12, 8, 3), 99, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


PIXELS = jpeg()


def photo(path: Path, content: str | None = None) -> None:
    """A small image; what follows the end of its picture makes the bytes its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PIXELS + (path.name if content is None else content).encode())


def release(raw: Path, people: tuple[str, ...] = (*ADULTS, KID), angles: tuple[str, ...] = ANGLES) -> Path:
    return rafd_world.release(raw, photo, people, angles)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 8,040 names: 39 Caucasian and 18 Moroccan adults, 10 children."""
    numbers = [number for number in range(1, 74) if number not in (6, 13, 17, 34, 62, 66)]
    kinds = ["Caucasian_female"] * 19 + ["Caucasian_male"] * 20 + ["Kid_male"] * 4 + ["Kid_female"] * 6
    kinds += ["Moroccan_male"] * 18
    people = tuple(f"{number:02d}_{kind}" for number, kind in zip(numbers, kinds, strict=True))
    return release(tmp_path_factory.mktemp("rafd"), people)


@cache
def first_listed(raw: Path, entry: str) -> pd.DataFrame:
    """The faces of an entry of params.yaml, looked up once: thousands of files are opened."""
    settings = params.resolve_dataset(params.load(ROOT / "params.yaml"), entry)
    assert settings["module"] == "rafd"
    return rafd.index(raw, settings["options"], settings["seed"]).table


def reasons(listing: Listing) -> dict[str, tuple[str, str]]:
    entries = {path: (stage, reason) for path, stage, reason in listing.quarantine}
    assert len(entries) == len(listing.quarantine)
    assert not entries.keys() & set(listing.table["source"])
    return entries


def test_a_complete_release_is_recognised(complete: Path) -> None:
    rafd.check(complete, {}, None)
    listing = rafd.index(complete, {"include_kids": True}, 0)
    assert [str(total) for total in listing.totals] == ["8,040 of 8,040 photographs", "67 of 67 models"]
    assert incomplete(listing) == []
    assert listing.layout == "photographs in one folder"
    assert len(listing.table) == 8040
    assert listing.quarantine == []
    assert set(listing.table.groupby("expression").size()) == {1005}
    assert (listing.table.groupby("identity")["split"].nunique() == 1).all()
    people = listing.table.groupby("split")["identity"].nunique()
    assert people["train"] + people["val"] + people["test"] == 67
    assert abs(people["val"] - 6.7) < 1 > abs(people["test"] - 6.7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "counts", "people"),
    [
        ("rafd90", {"train": 57 * 24, "val": 3 * 24, "test": 168}, {"train": 57, "val": 3, "test": 7}),
        ("rafd90_basic", {"train": 57 * 21, "val": 3 * 21, "test": 147}, {"train": 57, "val": 3, "test": 7}),
        ("rafd3", {"train": 4320 - 216, "val": 216, "test": 504}, {"train": 57, "val": 3, "test": 7}),
    ],
)
def test_published_subsets_are_entries_of_params(
    complete: Path, entry: str, counts: dict[str, int], people: dict[str, int]
) -> None:
    settings = params.resolve_dataset(params.load(ROOT / "params.yaml"), entry)
    table = first_listed(complete, entry)
    assert dict(table.groupby("split").size()) == counts
    assert dict(table.groupby("split")["identity"].nunique()) == people
    assert table.equals(rafd.index(complete, settings["options"], settings["seed"]).table)
    other = rafd.index(complete, settings["options"], settings["seed"] + 1).table
    tested = [set(rows["identity"][rows["split"] == "test"]) for rows in (table, other)]
    assert tested[0] != tested[1]


@pytest.mark.slow
def test_the_same_models_are_tested_in_every_published_subset(complete: Path) -> None:
    tested = []
    for entry in ("rafd90", "rafd90_basic", "rafd3"):
        table = first_listed(complete, entry)
        tested.append(set(table["identity"][table["split"] == "test"]))
    assert tested[0] == tested[1] == tested[2]


def test_names_say_everything(tmp_path: Path) -> None:
    listing = rafd.index(release(tmp_path), {}, 0)
    table = listing.table.set_index("id")
    for angle, yaw in zip(ANGLES, (-90, -45, 0, 45, 90), strict=True):
        assert table.loc[f"Rafd{angle}_29_Moroccan_male_angry_left", "yaw"] == yaw
    row = table.loc["Rafd090_29_Moroccan_male_angry_left"]
    assert (row["expression"], row["identity"], row["gaze"]) == ("anger", "29", "left")
    for word, expression in zip(WORDS, EXPRESSIONS, strict=True):
        assert table.loc[f"Rafd045_02_Caucasian_male_{word}_right", "expression"] == expression
    assert len(table) == 5 * 120
    assert set(reasons(listing).values()) == {("selection", "a child, and `include_kids` is false")}
    assert len(listing.quarantine) == 120


def test_every_planted_fault_is_told_once(tmp_path: Path) -> None:
    release(tmp_path, ADULTS)
    (tmp_path / "Rafd090_01_Caucasian_female_angry_left.jpg").write_bytes(b"")
    (tmp_path / "Rafd090_01_Caucasian_female_angry_right.jpg").write_text("gone")
    (tmp_path / "Rafd180_73_Moroccan_male_sad_left.jpg").unlink()
    photo(tmp_path / "again" / "Rafd000_01_Caucasian_female_sad_left.jpg")
    photo(tmp_path / "Rafd000_02_Caucasian_male_happy_right.jpg", "one")
    photo(tmp_path / "Rafd045_02_Caucasian_male_happy_right.jpg", "one")
    photo(tmp_path / "Rafd000_02_Caucasian_male_happy_left.jpg", "two")
    photo(tmp_path / "Rafd000_02_Caucasian_male_sad_left.jpg", "two")
    wrong = {
        "Rafd030_01_Caucasian_female_angry_left": "unknown angle '030' in the name",
        "Rafd090_06_Caucasian_female_angry_left": "unknown model '06' in the name",
        "Rafd090_74_Caucasian_female_angry_left": "unknown model '74' in the name",
        "Rafd090_1_Caucasian_female_angry_left": "unknown model '1' in the name",
        "Rafd090_01_Dutch_female_angry_left": "unknown ethnicity 'Dutch' in the name",
        "Rafd090_01_Caucasian_woman_angry_left": "unknown gender 'woman' in the name",
        "Rafd090_01_Caucasian_female_bored_left": "unknown expression 'bored' in the name",
        "Rafd090_01_Caucasian_female_angry_up": "unknown gaze 'up' in the name",
    }
    shapeless = ("rafd090_01_Caucasian_female_angry_left", "Rafd090_01_female_angry_left", "IMG_0001",
                 "Rafd090_01_Caucasian_female_angry_left (1)")  # fmt: skip
    wrong |= dict.fromkeys(shapeless, "the name is not Rafd<angle>_<model>_<ethnicity>_<gender>_<expression>_<gaze>")
    for name in wrong:
        photo(tmp_path / "more" / f"{name}.jpg")
    (tmp_path / "readme.txt").write_text("no image")
    photo(tmp_path / ".thumbnails" / "Rafd090_01_Caucasian_female_angry_left.jpg")
    listing = rafd.index(tmp_path, {}, 0)
    first = "Rafd000_02_Caucasian_male_happy_right.jpg"
    clash = ("Rafd000_02_Caucasian_male_happy_left.jpg", "Rafd000_02_Caucasian_male_sad_left.jpg")
    assert reasons(listing) == {f"more/{name}.jpg": ("listing", reason) for name, reason in wrong.items()} | {
        "Rafd090_01_Caucasian_female_angry_left.jpg": ("listing", "an empty file"),
        "Rafd090_01_Caucasian_female_angry_right.jpg": ("listing", "not a readable image"),
        "again/Rafd000_01_Caucasian_female_sad_left.jpg": (
            "listing",
            "the same photograph as Rafd000_01_Caucasian_female_sad_left.jpg, by its name",
        ),
        "Rafd045_02_Caucasian_male_happy_right.jpg": ("listing", f"same bytes as {first}"),
        clash[0]: ("listing", f"same bytes as {clash[1]}, with another label"),
        clash[1]: ("listing", f"same bytes as {clash[0]}, with another label"),
    }
    assert len(listing.table) == 5 * 120 - 3 - 3  # two unusable and one missing; one twice and two of two labels
    assert listing.layout == "photographs in folders"
    photographs, models = listing.totals
    assert (photographs.found, photographs.expected) == (597, 8040)
    assert set(photographs.missing) == {
        "Rafd090_01_Caucasian_female_angry_left.jpg",
        "Rafd090_01_Caucasian_female_angry_right.jpg",
        "Rafd180_73_Moroccan_male_sad_left.jpg",
    }
    assert (models.found, models.expected, len(models.missing)) == (5, 67, 62)
    assert str(models) == "5 of 67 models; missing: model 03, model 04, model 05 and 59 more"
    assert len(incomplete(listing)) == 2


def test_options_select(tmp_path: Path) -> None:
    release(tmp_path, ADULTS)
    options = {"angles": [45, 90], "gazes": ["frontal"], "classes": ["anger", "neutral"]}
    listing = rafd.index(tmp_path, options, 0)
    assert len(listing.table) == 5 * 2 * 2
    assert set(listing.table["yaw"]) == {-45, 0}
    told = [reason for _, reason in reasons(listing).values()]
    assert told.count("angle 000 is not among `angles`") == 5 * 24
    assert told.count("gaze left is not among `gazes`") == 5 * 2 * 8
    assert told.count("expression happiness is not among `classes`") == 5 * 2
    assert len(told) == 600 - 20


def test_identities_of_splits_can_be_named_or_drawn(tmp_path: Path) -> None:
    release(tmp_path, ADULTS, ("090",))

    def split(**options: Any) -> dict[str, set[str]]:
        table = rafd.index(tmp_path, options, 0).table
        return {name: set(rows["identity"]) for name, rows in table.groupby("split")}

    named = split(test_identities=[1, 73], val_identities=[29])
    assert named == {"test": {"01", "73"}, "val": {"29"}, "train": {"02", "37"}}
    drawn = split(test_identities=2, val_identities=[29])
    assert (len(drawn["test"]), drawn["val"]) == (2, {"29"})
    shared = split(test_identities=2, split={"train": 0.5, "val": 0.25, "test": 0.25})
    assert (len(shared["test"]), len(shared["val"]), len(shared["train"])) == (2, 1, 2)
    for options, told in (
        ({"test_identities": [3]}, "the models 03 have no usable photograph"),
        (
            {"test_identities": [1], "val_identities": [1]},
            "the models 01 have no usable photograph, or are already in another",
        ),
        ({"test_identities": 6}, "6 models are requested, but only 5 are left"),
        ({"test_identities": 4, "val_identities": 1}, "a split is empty"),
    ):
        with pytest.raises(UserError, match=told):
            split(**options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"angles": [37]}, "datasets.rafd.angles"),
        ({"angles": 90}, "datasets.rafd.angles"),
        ({"angles": [90, 90]}, "datasets.rafd.angles"),
        ({"angles": [True]}, "datasets.rafd.angles"),
        ({"gazes": ["up"]}, "datasets.rafd.gazes"),
        ({"include_kids": "no"}, "datasets.rafd.include_kids"),
        ({"classes": ["happy", "sad"]}, "datasets.rafd.classes"),
        ({"split": {"train": 1}}, "datasets.rafd.split"),
        ({"test_identities": 0}, "datasets.rafd.test_identities"),
        ({"test_identities": True}, "datasets.rafd.test_identities"),
        ({"val_identities": [6]}, "datasets.rafd.val_identities"),
        ({"val_identities": [1, 1]}, "datasets.rafd.val_identities"),
        ({"test_identities": ["01"], "name": "rafd90"}, "datasets.rafd90.test_identities"),
    ],
)
def test_unusable_options_fail_in_check(tmp_path: Path, options: Mapping[str, object], told: str) -> None:
    photo(tmp_path / "Rafd090_01_Caucasian_female_angry_left.jpg")
    rafd.check(tmp_path, {}, None)
    with pytest.raises(UserError, match=told):
        rafd.check(tmp_path, options, None)


def test_without_the_archive_the_error_says_what_to_obtain_and_where_to_put_it(tmp_path: Path) -> None:
    for step in (rafd.check, rafd.fetch):
        with pytest.raises(UserError, match="no such folder") as caught:
            step(tmp_path / "rafd", {}, None)
        assert "https://rafd.nl" in str(caught.value)
        assert "data/raw/rafd" in str(caught.value)
    with pytest.raises(UserError, match="no image"):
        rafd.check(tmp_path, {}, None)
    photo(tmp_path / "holiday.jpg")
    with pytest.raises(UserError, match=r"none of the 1 images has a name of RaFD's \(holiday\.jpg: the name is not"):
        rafd.check(tmp_path, {}, None)
