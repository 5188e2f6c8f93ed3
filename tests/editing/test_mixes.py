"""Mixes of expressions: what networks are told of them, by a formula written anew, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import mimik
from mimik.cli import main
from mimik.editing import editor as editing
from mimik.editing.editor import PhotographEditor
from mimik.editing.serving import Editor
from mimik.editing.wishes import Wish, mix, spelt
from mimik.errors import UserError
from mimik.labels import ACTION_UNITS
from mimik.methods import stargan
from tests.editing.models import CLASSES, make_model
from tests.editing.test_files import FACES, STATE, photograph

pytestmark = pytest.mark.slow

HAIR = ("Black_Hair", "Blond_Hair", "Young", "Male")
CONDITIONS: dict[str, dict[str, Any]] = {
    "absolute": {},
    "relative": {"form": "relative"},
    "units": {"space": "action_units"},
    "relative_units": {"space": "action_units", "form": "relative", "names": ("AU12", "AU04")},
    "attributes": {"space": "attributes", "attributes": HAIR},
    "hair": {"space": "attributes", "attributes": HAIR, "reversal": "hair_colour"},
}


@pytest.fixture(scope="module")
def editors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PhotographEditor]:
    root = tmp_path_factory.mktemp("models")
    return {name: PhotographEditor(make_model(root / name, **made)) for name, made in CONDITIONS.items()}


def told(editor: PhotographEditor, wish: Wish) -> np.ndarray:
    """What the networks receive for three faces (3, K)."""
    source, target = editor.states(FACES, wish)
    given: np.ndarray = editor.condition.told(source, target).numpy()
    return given


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("name", ["absolute", "relative", "units", "relative_units"])
def test_a_mix_adds_up_the_ways_to_its_expressions(
    editors: dict[str, PhotographEditor], name: str, strength: float
) -> None:
    editor, shares = editors[name], {"happiness": 0.7, "anger": 0.5}
    labels = editor.condition.space == "expression"
    got = told(editor, Wish(shares, strength, "neutral" if labels else None))
    for row, shown in zip(got, [STATE] * 3, strict=True):
        names = editor.condition.names
        shows = np.array([1, 0, 0]) if labels else np.array([shown[ACTION_UNITS.index(unit)] for unit in names])
        corners = np.eye(3) if labels else editor.condition.class_units.numpy()
        way = np.zeros(len(shows))
        for expression, share in shares.items():
            way += strength * share * (corners[CLASSES.index(expression)] - shows)
        np.testing.assert_allclose(row, way if "relative" in name else shows + way, atol=1e-6)


def test_without_the_start_a_mix_that_sums_to_one_is_told_as_it_is(editors: dict[str, PhotographEditor]) -> None:
    np.testing.assert_allclose(told(editors["absolute"], Wish({"happiness": 0.6, "anger": 0.4})), [[0, 0.6, 0.4]] * 3)
    third = Wish({"happiness": 0.1, "anger": 0.2, "neutral": 0.7})
    np.testing.assert_allclose(told(editors["absolute"], third), [[0.7, 0.1, 0.2]] * 3, atol=1e-6)


@pytest.mark.parametrize("name", ["absolute", "relative", "units", "attributes"])
def test_one_share_is_a_strength(editors: dict[str, PhotographEditor], name: str) -> None:
    editor = editors[name]
    to = "Young" if name == "attributes" else "happiness"
    rest = {"shown": "anger" if "lative" in name or name == "absolute" else None}
    rest |= {"has": ("Young", "Male") if name == "attributes" else None}
    for share in (0.0, 0.3, 1.0, 1.7):
        alone, mixed = editor.states(FACES, Wish(to, share, **rest)), editor.states(FACES, Wish({to: share}, **rest))
        assert torch.equal(alone[0], mixed[0]) and torch.equal(alone[1], mixed[1])


def test_attributes_are_reversed_each_as_far_as_it_is_asked(editors: dict[str, PhotographEditor]) -> None:
    has = ("Black_Hair", "Young")
    got = told(editors["attributes"], Wish({"Young": 0.5, "Male": 1.5}, has=has))
    np.testing.assert_allclose(got, [[1, 0, 0.5, 1.5]] * 3)
    blond = told(editors["hair"], Wish({"Blond_Hair": 1, "Young": 1}, has=has))
    np.testing.assert_allclose(blond, [[0, 1, 0, 0]] * 3)
    with pytest.raises(UserError, match=r"Blond_Hair=1,Black_Hair=0.5: to this model they contradict"):
        editors["hair"].check(Wish({"Blond_Hair": 1, "Black_Hair": 0.5}, has=("Young",)))


@pytest.mark.parametrize(
    ("name", "wish", "message"),
    [
        ("absolute", Wish({"happiness": 0.6}), "--from: .* do not sum to 1"),
        ("relative", Wish({"happiness": 0.6, "anger": 0.4}), "--from: .*difference between two labels"),
        ("absolute", Wish({"happiness": 0.6, "joy": 0.4}), "--to joy: this model knows neutral, happiness"),
        ("absolute", Wish("happiness,anger"), "In a mix each has its share, like neutral=0.6,happiness=0.4"),
        ("absolute", Wish({"happiness": 1.5, "anger": 1}, shown="neutral"), "together 2.5 of the way; .* at most 2"),
        ("units", Wish({"happiness": 1.5, "anger": 0.5}, 1.5), "--to happiness: a share of 2.25 with --strength 1.5"),
        ("units", Wish({"happiness": -0.5}), "a share of -0.5; expected a number from 0 to 2"),
        ("units", Wish({}), "--to: name an expression"),
    ],
)
def test_what_makes_no_sense_is_refused(
    editors: dict[str, PhotographEditor], name: str, wish: Wish, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        editors[name].check(wish)


def test_shares_are_read_from_a_text_and_written_as_one() -> None:
    assert mix("happiness") == "happiness"
    assert mix("happiness=0.6, anger=.4") == {"happiness": 0.6, "anger": 0.4}
    assert mix("a=b=1") == {"a=b": 1}
    for to in ("happiness=0.6,anger=0.4", "happiness"):
        assert spelt(mix(to)) == to
    for text in ("happiness=much", "happiness=0.6,anger", "=1", "happiness=nan", "happiness=", "happiness=1,"):
        with pytest.raises(UserError, match=r"expected a name and a number for each, like happiness=0.6,surprise=0.4"):
            mix(text)
    with pytest.raises(UserError, match="anger is named twice"):
        mix("anger=1,anger=0.5")


def test_a_method_that_reads_both_ends_has_to_be_told_both(
    editors: dict[str, PhotographEditor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editors["absolute"].check(Wish("happiness"))
    monkeypatch.setattr(
        stargan.Method, "translate", lambda self, images, source, target: images * source[:, :1, None, None]
    )
    pairs = PhotographEditor(make_model(tmp_path / "pairs"))
    with pytest.raises(UserError, match=r"--from: .*stargan edits from one expression to another and has to be told"):
        pairs.check(Wish("happiness"))
    pairs.check(Wish({"happiness": 0.6, "anger": 0.4}, shown="neutral"))


def test_all_ways_to_ask_give_the_same_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    monkeypatch.setattr(editing.PhotographEditor, "faces", lambda self, seen: list(FACES))
    folder, source = make_model(tmp_path / "model"), photograph(tmp_path / "in.png")
    output, record = tmp_path / "out.png", tmp_path / "done.json"
    asked = ["edit", str(source), "--to", "happiness=0.4,anger=0.3", "--from", "neutral", "--model", str(folder)]
    main([*asked, "-o", str(output), "--json", str(record)])
    edited = np.asarray(Image.open(output))
    assert json.loads(record.read_text())["wish"]["to"] == "happiness=0.4,anger=0.3"
    assert "happiness 0.4 + anger 0.3" in output.read_bytes().decode("latin1")
    with mimik.load(folder) as model:
        shares = {"happiness": 0.4, "anger": np.float64(0.3)}
        np.testing.assert_array_equal(model.edit(source, to=shares, shown="neutral"), edited)
        for wrong in ({"happiness": "much"}, {1: 0.5}, ["happiness"]):
            with pytest.raises(TypeError, match="to: expected a name, or shares by name"):
                model.edit(source, to=wrong)
    row = {"photograph": source.read_bytes(), "to": "happiness=0.4,anger=0.3", "shown": "neutral"}
    served = Editor(folder).predict(pd.DataFrame([row]))
    assert served["refused"][0] == ""
    (tmp_path / "served.png").write_bytes(served["photograph"][0])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "served.png")), edited)
