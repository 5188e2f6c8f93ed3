"""Many photographs with one model: names, faces, what is not edited, and the record of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mimik
from mimik.cli import main
from mimik.editing import commands, files
from mimik.editing import editor as editing
from mimik.editing.composing import Found
from mimik.editing.wishes import Exemplar, Wish, attributes
from mimik.errors import UserError
from mimik.labels import ACTION_UNITS
from mimik.storage.pictures import readable_endings
from tests.editing.models import make_model

pytestmark = pytest.mark.slow

STATE = np.linspace(0, 1, len(ACTION_UNITS)).astype(np.float32)


def face(left: float, size: float) -> Found:
    """A face of the given place and size in a photograph of 200 pixels."""
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size + (left, 100 - size / 2)
    transform = np.array([[1 / size, 0, -left / size], [0, 1 / size, 0.5 - 100 / size]])
    return Found(transform, square, (square - square.mean(0)) / 2 + square.mean(0), STATE)


FACES = [face(90, 40), face(140, 50), face(20, 30)]  # the most prominent first


@pytest.fixture(autouse=True)
def finder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A face finder that needs no mediapipe: pictures 200 px wide have three faces, others none."""
    monkeypatch.setattr(
        editing.PhotographEditor, "faces", lambda self, picture: list(FACES) if picture.shape[1] == 200 else []
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "model")


def photograph(path: Path, width: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, width, 3)).astype(np.uint8)).save(path)
    return path


def changed(before: Path, after: Path) -> list[int]:
    """The places in `FACES` of the faces that were edited."""
    difference = np.any(np.asarray(Image.open(before)) != np.asarray(Image.open(after)), -1)
    return [place for place, one in enumerate(FACES) if difference[100, slice(one.box[0] + 10, one.box[2] - 10)].any()]


@pytest.mark.parametrize(
    ("which", "edited"), [("all", [0, 1, 2]), ("largest", [1]), ("left", [2]), ("1", [2]), ("2", [0]), ("3", [1])]
)
def test_faces_are_chosen_by_word_and_counted_from_the_left(
    tmp_path: Path, model: Path, which: str, edited: list[int]
) -> None:
    pytest.importorskip("cv2")
    source, output = photograph(tmp_path / "in.png"), tmp_path / "out.png"
    main(["edit", str(source), "--to", "anger", "--face", which, "--model", str(model), "-o", str(output)])
    assert changed(source, output) == edited


def test_a_face_that_is_not_there_is_told(tmp_path: Path, model: Path) -> None:
    source = photograph(tmp_path / "in.png")
    with pytest.raises(UserError, match=r"in\.png: has 3 face\(s\), so there is no face number 4"):
        commands.run(source, model, tmp_path / "out.png", Wish("anger"), which=4)
    for text in ("0", "-1", "right", "1.5", "²", ""):
        with pytest.raises(UserError, match="expected all, largest, left, or the number of a face"):
            files.which_faces(text)
    with pytest.raises(TypeError, match="faces: expected"):
        mimik.load(model, device="cpu").edit_file(source, tmp_path / "out.png", to="anger", faces=True)


def test_a_broken_file_does_not_stop_the_rest(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cv2")
    folder, output, told = tmp_path / "holiday", tmp_path / "edited", tmp_path / "done.json"
    photograph(folder / "a.png"), photograph(folder / "deep" / "b.bmp"), photograph(folder / "wall.png", 90)
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "notes.txt").write_text("sun")
    alone = photograph(tmp_path / "me.png")
    command = ["edit", str(alone), str(folder), "--to", "anger", "--model", str(model), "-o", str(output)]
    with pytest.raises(SystemExit) as status:
        main([*command, "--json", str(told), "--face", "left"])
    assert status.value.code == commands.NOT_ALL
    written = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    assert written == ["a.png", "deep/b.bmp.png", "me.png"]
    screen = capsys.readouterr()
    assert "3 of 5 photograph(s) edited by stargan trained on open_faces, scale smoke, 3 face(s)." in screen.out
    assert "2 not edited, see above. 1 other file(s) passed over." in screen.out
    assert [line.split(": ")[1].rsplit("/")[-1] for line in screen.err.splitlines() if "not edited: " in line] == [
        "torn.jpg", "wall.png"
    ]  # fmt: skip
    record = json.loads(told.read_text())
    assert record["model"]["method"] == "stargan" and len(record["model"]["generator_sha256"]) == 64
    assert record["wish"] | {"to": "anger", "strength": 1.0} == record["wish"]
    entries = {Path(entry["source"]).name: entry for entry in record["photographs"]}
    assert set(entries) == {"me.png", "a.png", "b.bmp", "torn.jpg", "wall.png"}
    assert entries["me.png"]["faces"] == [[20, 85, 50, 115]] and entries["me.png"]["seconds"] > 0
    assert entries["me.png"]["output"] == str(output / "me.png")
    assert "no face was found" in entries["wall.png"]["not_edited"] and entries["wall.png"]["output"] is None

    # Edits of an earlier run stay, unless they are to be replaced.
    before = (output / "a.png").read_bytes()
    again = [*command[:3], "--to", "happiness", *command[5:]]
    with pytest.raises(SystemExit):
        main(again)
    assert (output / "a.png").read_bytes() == before
    assert "a.png: already exists. Choose another folder, or add --overwrite." in capsys.readouterr().err
    with pytest.raises(UserError, match=r"done\.json: already exists"):
        commands.check_record(told, overwrite=False)
    (folder / "torn.jpg").unlink(), (folder / "wall.png").unlink()
    main([*again, "--overwrite", "--json", str(told)])
    assert (output / "a.png").read_bytes() != before
    assert json.loads(told.read_text())["wish"]["to"] == "happiness"


def test_one_start_up_serves_all(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    loaded = []
    load = commands.PhotographEditor
    monkeypatch.setattr(commands, "PhotographEditor", lambda *folder: loaded.append(folder) or load(*folder))
    sources = [photograph(tmp_path / f"{name}.png") for name in "abc"]
    assert commands.run_many(sources, model, tmp_path / "out", Wish("anger"))
    assert len(loaded) == 1
    # What was named counts, whatever it is.
    (tmp_path / "notes.txt").write_text("sun")
    assert not commands.run_many([sources[0], tmp_path / "notes.txt"], model, tmp_path / "other", Wish("anger"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["me.png", "none.png", "-o", "out"], "none.png: expected a photograph or a folder"),
        (["me.png", "me.png", "-o", "out.png"], "expected a folder, because several photographs are edited"),
        (["me.png", "me.png", "-o", "out", "--sheet", "expressions"], "For several, use `mimik gallery`"),
        (["me.png", "-o", "out.png", "--json", "me.png"], "me.png: already exists"),
        (["folder", "-o", "folder/out"], "nothing may be added"),
        (["folder", "-o", "out"], "expected photographs, but no file in it is a picture"),
    ],
)
def test_requests_that_make_no_sense_are_told(
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    photograph(Path("me.png"))
    Path("folder").mkdir()
    Path("folder/notes.txt").write_text("sun")
    with pytest.raises(SystemExit) as status:
        main(["edit", *arguments, "--to", "anger", "--model", str(model)])
    assert status.value.code == 2
    told = capsys.readouterr().err
    assert message in told


def test_attributes_are_edited_when_it_is_said_which_a_face_has(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    made = make_model(tmp_path / "model", ["Smiling", "Male", "Young"], space="attributes", names=("Smiling", "Young"))
    source, output = photograph(tmp_path / "in.png"), tmp_path / "out.png"
    command = ["edit", str(source), "--to", "Smiling", "--model", str(made), "-o", str(output)]
    with pytest.raises(SystemExit):
        main(command)
    main([*command, "--has", "Young, Male"])
    assert changed(source, output) == [0, 1, 2]
    editor = editing.PhotographEditor(made)
    for has, before, after in (
        (("Young", "Male"), [0, 1], [1, 1]),
        (("Smiling",), [1, 0], [0, 0]),
        ((), [0, 0], [1, 0]),
    ):
        states = editor.states(FACES[:1], Wish("Smiling", has=has))
        assert [state.tolist() for state in states] == [[before], [after]]
    assert attributes("none") == () and attributes("Young, Male") == ("Young", "Male")
    for wish, message in (
        (Wish("Smiling"), r"--has: .* cannot be read from a photograph\. Name those .* of Smiling, Young;"),
        (Wish("Smiling", has=("Bald",)), "--has Bald: this model knows Smiling, Male, Young"),
        (Wish("Smiling", like=Exemplar("o.jpg", STATE), has=()), "told the name of an attribute"),
    ):
        with pytest.raises(UserError, match=message):
            editor.check(wish)
    main(["edit", str(source), "--sheet", "expressions", "--has", "none", "--model", str(made), "-o", str(output)])
    assert Image.open(output).size[0] == 3 * 260 - 4


def test_a_face_is_imitated_by_its_action_units(tmp_path: Path, model: Path) -> None:
    made = make_model(tmp_path / "units", space="action_units", form="relative")
    other = photograph(tmp_path / "other.png")
    editor = editing.PhotographEditor(made)
    wish = commands.imitating(editor, Wish(strength=0.5, units={"AU12": 0.25}), other)
    shown = Found(FACES[0].transform, FACES[0].outline, FACES[0].features, np.zeros_like(STATE))
    source, target = editor.states([shown], wish)
    expected = 0.5 * STATE
    expected[ACTION_UNITS.index("AU12")] += 0.25
    np.testing.assert_allclose(target.numpy()[0], expected, atol=1e-6)
    assert not source.any()
    with pytest.raises(UserError, match="--like, --to: both say"):
        commands.imitating(editor, Wish("anger"), other)
    with pytest.raises(UserError, match=r"wall\.png: no face was found"):
        commands.imitating(editor, Wish(), photograph(tmp_path / "wall.png", 90))
    with pytest.raises(UserError, match=r"cannot imitate a face.* relative_au"):
        commands.imitating(editing.PhotographEditor(model), Wish(), other)
    python = mimik.load(made, device="cpu")
    pixels = np.asarray(Image.open(other))
    edited = python.edit(pixels, like=other, faces="largest") if has_cv2() else pixels
    assert edited.shape == pixels.shape


def has_cv2() -> bool:
    try:
        import cv2  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def test_a_picture_of_a_phone_says_what_it_needs(tmp_path: Path) -> None:
    if ".heic" in readable_endings():
        pytest.skip("pillow-heif is installed")
    for name in ("me.heic", "me.jpg"):  # phones rename them, too
        path = tmp_path / name
        path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
        with pytest.raises(UserError, match=rf"{name}: expected a photograph, but reading HEIC needs pillow-heif"):
            files.read(path)


def test_a_photograph_in_memory_becomes_a_marked_png(tmp_path: Path, model: Path) -> None:
    import base64
    from io import BytesIO

    from mimik.editing.serving import Editor
    from mimik.storage.provenance import MARK

    pytest.importorskip("cv2")
    content = photograph(tmp_path / "in.png").read_bytes()
    served = Editor(model)
    rows: list[dict[str, Any]] = [
        {"photograph": content, "to": "anger"},
        {"photograph": base64.b64encode(content).decode(), "to": "anger", "faces": "left", "strength": float("nan")},
    ]
    both = served.predict(rows)
    assert both["faces"].tolist() == [3, 1] and all(MARK.encode() in edit for edit in both["photograph"])
    edited = mimik.load(model, device="cpu").edit(tmp_path / "in.png", to="anger")
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(both["photograph"][0]))), edited)
    for row, message in (
        ({"photograph": b"sun", "to": "anger"}, "row 1: expected a photograph, but"),
        ({"photograph": content, "to": "joy"}, "to joy: this model knows"),
        ({"photograph": content, "to": "anger", "faces": "9"}, "row 1: has 3"),
        ({"photograph": content, "to": "anger", "faces": "right"}, "faces right: expected all"),
        ({"photograph": content, "to": "anger", "aligned": True}, "row 1: expected 64 x 64 pixels, found 200 x 200"),
    ):
        refused = served.predict([rows[0], row]).to_dict("records")
        assert refused[0]["photograph"] == both["photograph"][0] and not refused[0]["refused"]
        assert refused[1]["photograph"] is None and refused[1]["refused"].startswith(message)
    with pytest.raises(UserError, match="expected a column `photograph`; found to"):
        served.predict([{"to": "anger"}])
