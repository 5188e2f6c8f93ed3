import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.errors import UserError
from mimik.reporting.results import Result
from mimik.study.key import Key, read_key
from mimik.study.pages import make


def test_pictures_are_those_of_the_results(two: list[Result], study: tuple[Path, Key]) -> None:
    folder, key = study
    assert sorted(f"{name}.png" for name in key.record["pictures"]) == sorted(
        path.name for path in (folder / "page" / "images").iterdir()
    )
    for name, told in key.record["pictures"].items():
        row, target = int(told["face"].removeprefix("face")), two[0].classes.index(told["expression"])
        own = row % 3 == target
        grey = {
            None: 10 * row if own else 200 + target - row,
            "first": 10 * row + 40 * target,
            "second": 10 * row + 50 * target,
        }[told["method"]]
        with Image.open(folder / "page" / "images" / f"{name}.png") as opened:
            assert (np.asarray(opened) == grey % 256).all() and opened.info == {}


def test_nothing_that_raters_get_tells_the_methods(study: tuple[Path, Key]) -> None:
    folder, key = study
    for page in (folder / "page").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        trials = json.loads(text.split('id="sheet">')[1].split("</script>")[0])["trials"]
        assert len(trials) == 42 and not re.search("first|second|face|happiness", json.dumps(trials))
        assert "http" not in text.replace("http-equiv", "")
        assert [code for code in key.sheets if code in text] == [page.stem]
    assert not list((folder / "page").rglob("*.json"))
    # The first of two names is as often of the one method as of the other.
    realism = [pair["pictures"] for pair in key.pairs.values() if pair["question"] == "realism"]
    assert {key.method_of(pictures[0]) for pictures in realism} == {"first", "second"}


def test_the_same_call_makes_the_same_files_and_another_study_needs_a_folder_of_its_own(
    two: list[Result], study: tuple[Path, Key], tmp_path: Path
) -> None:
    folder, key = study
    again = make(two, tmp_path / "again", pairs=12, raters=4, repeats=2, seed=3)[0]
    assert again == key == read_key(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folder)).read_bytes()
    make(two, folder, pairs=12, raters=4, repeats=2, seed=3)
    with pytest.raises(UserError, match="holds another study"):
        make(two, folder, pairs=12, raters=4, repeats=2, seed=4)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(UserError, match="not empty and not a study"):
        make(two, tmp_path / "mine", pairs=12, raters=4, repeats=2, seed=3)


def test_a_key_that_was_changed_is_refused(study: tuple[Path, Key]) -> None:
    folder, _ = study
    path = folder / "key.json"
    record = json.loads(path.read_text())
    name = next(name for name, told in record["pictures"].items() if told["method"] == "first")
    record["pictures"][name]["method"] = "second"
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="it was changed later"):
        read_key(folder)
    del record["pairs"]
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="'pairs' is a required property"):
        read_key(folder)
    path.unlink()
    with pytest.raises(UserError, match=r"key\.json: no such file"):
        read_key(folder)
