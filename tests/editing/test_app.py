"""What the app does, without its page: `mimik.editing.app.studio`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.cli import main
from mimik.editing import editor as editing
from mimik.editing.app import api
from mimik.editing.app import studio as app
from mimik.editing.app.studio import Studio
from mimik.editing.composing import Found
from mimik.errors import UserError
from mimik.faces import alignment
from mimik.storage.provenance import MARK
from tests.editing.models import make_model
from tests.editing.test_files import FACES, STATE, face, photograph

pytestmark = pytest.mark.slow


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Widths of the pictures in which faces were sought; those 200 px wide have three, others none."""
    widths: list[int] = []

    def faces(self: editing.PhotographEditor, picture: app.Picture) -> Sequence[Found]:
        widths.append(picture.shape[1])
        return list(FACES) if picture.shape[1] == 200 else []

    monkeypatch.setattr(editing.PhotographEditor, "faces", faces)
    return widths


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("results")
    (root / "faces").mkdir()
    attributes = make_model(root / "faces" / "attributes", ["Young", "Male"], space="attributes")
    return [
        make_model(root / "faces" / "labels"),
        make_model(root / "faces" / "units", space="action_units", form="relative"),
        attributes,
    ]


@pytest.fixture
def studio(models: list[Path], tmp_path: Path) -> Studio:
    (tmp_path / "shown").mkdir()
    return Studio(models, None, tmp_path / "shown")


def test_faces_are_numbered_from_the_left_and_sought_once(studio: Studio, searched: list[int], tmp_path: Path) -> None:
    path = photograph(tmp_path / "me.png")
    opened = studio.open(path)
    assert studio.open(path) is opened
    assert searched == [200]
    assert [one.box[0] for one in opened.faces] == [20, 90, 140]
    assert opened.number_at(35, 100) == 1
    assert opened.number_at(165, 100) == 3
    assert opened.number_at(1, 1) is None
    changed = (opened.numbered != opened.whole.picture).any(-1)
    assert changed[100, 20] and changed[100, 140] and not changed[100, 70]
    assert changed[75, 25]  # its number, above its box


def test_faces_lie_at_the_same_place_in_a_part_that_is_shrunk() -> None:
    seen = np.asarray(Image.linear_gradient("L").resize((2400, 1600)).convert("RGB"))
    one = face(1000, 300)
    part = app.view(seen, [one], (100, 0, 2400, 1600))
    assert max(part.picture.shape) == app.SEEN
    before, after = (
        alignment.crop(*pair, 64) for pair in ((seen, one.transform), (part.picture, part.faces[0].transform))
    )
    assert np.abs(before.astype(int) - after).max() <= 3
    assert part.faces[0].box[0] == pytest.approx((1000 - 100) * app.SEEN / 2300, abs=1)
    assert part.faces[0].units is STATE


def test_the_controls_of_other_models_are_left_out(studio: Studio) -> None:
    given = ("anger", 1.5, "neutral", ["Young"], {"AU12": 0.5, "AU06": 0.0})
    labels, units = studio.wish("faces/labels", *given), studio.wish("faces/units", *given)
    assert (labels.shown, labels.units, labels.has) == ("neutral", {}, None)
    assert (units.shown, units.units, units.has) == (None, {"AU12": 0.5}, None)
    assert studio.wish("faces/attributes", "Young", has=[]).has == ()


def test_sliders_are_for_what_any_model_can_be_asked_for(studio: Studio, models: list[Path], tmp_path: Path) -> None:
    assert studio.edits == ["neutral", "happiness", "anger", "Young", "Male"]
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "config.json").write_text("{")
    assert Studio([torn, models[2]], None, tmp_path).edits == ["Young", "Male"]


@pytest.mark.usefixtures("searched")
def test_a_face_to_imitate_is_the_main_one_or_that_of_a_number(studio: Studio, tmp_path: Path) -> None:
    opened = studio.open(photograph(tmp_path / "you.png"))
    assert opened.main == 2  # FACES[0] is second from the left
    assert studio.exemplar(opened).units is STATE and studio.exemplar(opened, 3).name == "you.png"
    with pytest.raises(UserError, match="no face number 4"):
        studio.exemplar(opened, 4)
    wish = studio.wish("faces/units", {}, like=studio.exemplar(opened))
    assert wish.like is not None and not wish.empty
    with pytest.raises(UserError, match=r"^Like: .*cannot imitate a face"):
        studio.editor("faces/labels").check(studio.wish("faces/labels", {}, like=studio.exemplar(opened)))


@pytest.mark.usefixtures("searched")
def test_nothing_asked_for_shows_the_photograph_as_it_is(studio: Studio, tmp_path: Path) -> None:
    opened = studio.open(photograph(tmp_path / "me.png"))
    before, after = studio.preview(opened, "faces/labels", 1, studio.wish("faces/labels", {}, shown="neutral"))
    assert before == after and MARK.encode() not in after.read_bytes()
    with pytest.raises(UserError, match=r"^Expression: name an expression"):
        studio.file(opened, "faces/labels", 1, studio.wish("faces/labels", {}))


@pytest.mark.usefixtures("searched")
def test_previews_and_files_are_edits_marked_as_synthetic(studio: Studio, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    opened = studio.open(photograph(tmp_path / "me.png"))
    wish = studio.wish("faces/labels", "anger")
    before, after = studio.preview(opened, "faces/labels", 1, wish)
    assert np.abs(np.asarray(Image.open(before)).astype(int) - np.asarray(Image.open(after))).max() > 20
    assert MARK.encode() in after.read_bytes() and MARK.encode() not in before.read_bytes()
    file = studio.file(opened, "faces/labels", 2, wish)
    assert file.name == "me_edited.png" and MARK.encode() in file.read_bytes()
    changed = (np.asarray(Image.open(file)) != np.asarray(Image.open(tmp_path / "me.png"))).any(-1)
    assert changed[100, 95:125].any() and not changed[:, :85].any() and not changed[:, 135:].any()


@pytest.mark.usefixtures("searched")
def test_a_strip_shows_every_expression_and_a_comparison_every_model(studio: Studio, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    opened = studio.open(photograph(tmp_path / "me.png"))
    strip = list(studio.strip(opened, "faces/labels", 1, studio.wish("faces/labels", "anger")))
    assert [text for _, text in strip] == ["photograph", "neutral", "happiness", "anger"]
    assert len({file.read_bytes() for file, _ in strip}) == 4
    wishes = {name: studio.wish(name, "anger") for name in studio.folders}
    compared = [text for _, text in studio.comparison(opened, wishes, 1)]
    assert compared[:3] == ["photograph", "faces/labels", "faces/units"]
    assert compared[3].startswith("faces/attributes makes no such edit. Expression anger: this model knows Young, Male")


@pytest.mark.usefixtures("searched")
def test_what_is_no_photograph_or_too_large_is_refused(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"^torn\.jpg: expected a photograph"):
        studio.open(tmp_path / "torn.jpg")
    with pytest.raises(UserError, match=r"^gone\.jpg: was deleted"):
        studio.open(tmp_path / "gone.jpg")
    with pytest.raises(UserError, match=r"^empty\.png: no face was found"):
        studio.open(photograph(tmp_path / "empty.png", 120))
    monkeypatch.setattr(app, "LARGEST", 30_000)
    with pytest.raises(UserError, match=r"200 x 200 pixels; the limit"):
        studio.open(photograph(tmp_path / "large.png"))
    monkeypatch.setattr(app, "LARGEST_FILE", 0.01)
    with pytest.raises(UserError, match="has 0 MB; the limit"):
        studio.open(photograph(tmp_path / "heavy.png"))


def test_photographs_that_were_not_used_for_long_are_forgotten(
    studio: Studio, searched: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "KEPT", 2)
    paths = [photograph(tmp_path / f"{number}.png") for number in range(3)]
    for number in (0, 1, 0, 2, 0, 1):
        studio.open(paths[number])
    assert len(searched) == 4  # the second was forgotten when the third came


def test_without_a_model_the_page_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no trained model in results/.*`mimik app --model DIR`"):
        Studio([], None, tmp_path).open(tmp_path / "me.png")


def test_models_go_by_dataset_and_method(models: list[Path], tmp_path: Path) -> None:
    assert list(Studio(models, None, tmp_path).folders) == ["faces/labels", "faces/units", "faces/attributes"]
    other = tmp_path / "faces" / "labels"
    assert list(Studio([models[0], other], None, tmp_path).folders) == [str(models[0]), str(other)]
    with pytest.raises(UserError, match=r"model faces/label: .*Did you mean faces/labels\?"):
        Studio(models, None, tmp_path).editor("faces/label")


def test_a_damaged_model_does_not_hide_the_others(models: list[Path], tmp_path: Path) -> None:
    damaged = make_model(tmp_path / "damaged")
    (damaged / "generator.safetensors").write_bytes(b"")
    first, second = (api.facts(Studio([damaged, models[0]], None, tmp_path), name) for name in
                     (f"{tmp_path.name}/damaged", "faces/labels"))  # fmt: skip
    assert set(first) == {"name", "error"} and "generator.safetensors" in first["error"]
    assert second["to"] == ["neutral", "happiness", "anger"]


def test_the_page_of_a_model_is_its_card(studio: Studio) -> None:
    text = studio.about("faces/labels")
    assert text.startswith("# stargan trained on open_faces")
    assert "Not to be passed on" in text and "Not measured." in text


def test_without_gradio_one_sentence_says_what_to_install(
    models: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit, match="2"):
        main(["app", "--model", str(models[0])])
    assert "pip install 'mimik[app]'" in capsys.readouterr().err


def test_a_folder_without_a_model_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["app", "--model", str(tmp_path)])
    assert f"--model {tmp_path}: expected results/<dataset>/<method>" in capsys.readouterr().err
