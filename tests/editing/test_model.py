"""The Python interface to a trained model: what it gives, and what it says of bad input."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mimik
from mimik.cli import main
from mimik.editing.wishes import STRONGEST
from mimik.errors import UserError
from mimik.labels import ACTION_UNITS
from mimik.storage import provenance
from tests.editing.models import CLASSES, make_model
from tests.test_without_extras import run

FACES = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "labels")


@pytest.fixture(scope="module")
def model(folder: Path) -> mimik.Model:
    return mimik.load(folder, device="cpu")


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> mimik.Model:
    made = make_model(tmp_path_factory.mktemp("models") / "units", space="action_units", form="relative")
    return mimik.load(made, device="cpu")


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    from skimage.data import astronaut

    image: np.ndarray = astronaut()
    return image


@pytest.fixture
def needs_finder() -> None:
    pytest.importorskip("mediapipe")


def test_a_model_says_what_it_is(folder: Path, model: mimik.Model, units: mimik.Model) -> None:
    assert model.folder == folder
    assert (model.dataset, model.method, model.scale, model.size) == ("open_faces", "stargan", "smoke", 64)
    assert model.classes == tuple(CLASSES) == model.names
    assert (model.space, units.space) == ("expression", "action_units")
    assert units.names == tuple(ACTION_UNITS) and units.classes == tuple(CLASSES)
    assert model.config["image_size"] == 64 and model.device.type == "cpu"
    assert repr(model) == f"mimik.Model({str(folder)!r}: stargan trained on open_faces, scale smoke, 64 px, cpu)"
    listed = type(model).edit_faces.__doc__ or ""
    assert [name.strip(" \n,") for name in listed.split("in the order ")[1].split(", or (B, A)")[0].split(",")] == list(
        ACTION_UNITS
    )


# --- aligned faces ---------------------------------------------------------------------------------------------


def test_aligned_faces_are_edited_each_by_itself(model: mimik.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = model.edit_faces(FACES, to="anger")
    assert edited.shape == FACES.shape and edited.dtype == np.uint8
    assert not np.array_equal(edited, model.edit_faces(FACES, to="happiness"))
    monkeypatch.setattr("mimik.editing.editor.AT_ONCE", 2)
    np.testing.assert_allclose(model.edit_faces(FACES, "anger").astype(int), edited, atol=1)
    assert model.edit_faces(FACES[:0], to="anger").shape == (0, 64, 64, 3)


def test_each_face_has_its_own_start(model: mimik.Model, units: mimik.Model) -> None:
    shown = ["neutral", "happiness", "neutral", "anger", "happiness"]
    together = model.edit_faces(FACES, to="anger", strength=0.5, shown=shown)
    by_mean = units.edit_faces(FACES, to="anger", shown=shown)
    for index, name in enumerate(shown):
        alone = FACES[index : index + 1]
        np.testing.assert_allclose(
            together[index].astype(int), model.edit_faces(alone, to="anger", strength=0.5, shown=name)[0], atol=1
        )
        np.testing.assert_allclose(by_mean[index].astype(int), units.edit_faces(alone, "anger", shown=name)[0], atol=1)


def test_action_units_are_those_of_the_face_or_the_mean_of_what_it_shows(units: mimik.Model) -> None:
    means = units._editor.condition.class_units
    assert means is not None
    own = np.repeat(means[[1]].numpy(), len(FACES), 0)
    change = {"AU12": 0.5, "4": -0.25}
    edited = units.edit_faces(FACES, action_units=change, measured=own)
    np.testing.assert_array_equal(edited, units.edit_faces(FACES, action_units=change, shown="happiness"))
    assert not np.array_equal(edited, units.edit_faces(FACES, to="anger", measured=own))
    with pytest.raises(UserError, match=r"measured: .* action units of the faces.* with shown"):
        units.edit_faces(FACES, to="anger")


def test_attributes_are_reversed(tmp_path: Path) -> None:
    made = make_model(tmp_path / "model", ["Smiling", "Male"], space="attributes")
    model = mimik.load(made, device="cpu")
    assert model.names == ("Smiling", "Male")
    own = np.array([[0, 1]] * len(FACES))
    edited = model.edit_faces(FACES, to="Smiling", measured=own)
    assert not np.array_equal(edited, model.edit_faces(FACES, to="Male", measured=own))
    np.testing.assert_array_equal(
        model.edit_faces(FACES, to="Smiling", strength=0, measured=own),
        model.edit_faces(FACES, to="Male", strength=0, measured=own),
    )
    with pytest.raises(UserError, match=r"measured: .* attributes of the faces"):
        model.edit_faces(FACES, to="Smiling")
    with pytest.raises(UserError, match=r"to happiness: this model knows Smiling, Male"):
        model.edit_faces(FACES, to="happiness", measured=own)
    with pytest.raises(UserError, match=r"to: name an attribute"):
        model.edit_faces(FACES, measured=own)
    with pytest.raises(UserError, match="conditioned on attributes, not on action units"):
        model.edit_faces(FACES, "Smiling", action_units={"AU12": 0.5}, measured=own)
    with pytest.raises(UserError, match="edits attributes"):
        model.edit(np.zeros((80, 80, 3), np.uint8), to="Smiling")


def test_aligned_faces_need_nothing_that_finds_faces(folder: Path, tmp_path: Path) -> None:
    code = f"""
import numpy, mimik
model = mimik.load({str(folder)!r}, device="cpu")
print(model.edit_faces(numpy.zeros((2, 64, 64, 3), numpy.uint8), to="anger").shape)
try:
    model.edit(numpy.zeros((90, 90, 3), numpy.uint8), to="anger")
except mimik.UserError as error:
    print(error)
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(2, 64, 64, 3)\n")
    assert "need mediapipe" in done.stdout and "pip install 'mimik[mesh]'" in done.stdout


# --- pictures and files ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("needs_finder")
def test_array_image_and_file_are_the_same_picture_and_stay_as_they_are(
    tmp_path: Path, model: mimik.Model, photograph: np.ndarray
) -> None:
    path, before = tmp_path / "in.png", photograph.copy()
    Image.fromarray(photograph).save(path)
    edited = model.edit(photograph, to="anger")
    assert edited.shape == photograph.shape and (edited != photograph).any()
    np.testing.assert_array_equal(photograph, before)
    image = Image.open(path)
    for picture in (path, str(path), image, Image.fromarray(photograph).convert("RGBA")):
        np.testing.assert_array_equal(model.edit(picture, to="anger"), edited)
    assert image.size == (512, 512) and np.array_equal(np.asarray(image), photograph)
    turned = Image.fromarray(photograph).transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(model.edit(Image.open(tmp_path / "turned.png"), to="anger"), edited)


@pytest.mark.usefixtures("needs_finder")
def test_only_the_chosen_faces_are_edited(model: mimik.Model, photograph: np.ndarray) -> None:
    two = np.concatenate([photograph, photograph], 1)
    faces = model.find_faces(two)
    assert len(faces) == 2
    edited = model.edit(two, to="anger", faces=faces[:1])
    halves = [(edited[:, :512] != photograph).any(), (edited[:, 512:] != photograph).any()]
    assert sorted(halves) == [False, True]
    unchanged = model.edit(two, to="anger", faces=[])
    np.testing.assert_array_equal(unchanged, two)
    assert unchanged is not two


@pytest.mark.usefixtures("needs_finder")
def test_a_file_is_written_as_the_command_line_writes_it(
    tmp_path: Path, folder: Path, model: mimik.Model, photograph: np.ndarray
) -> None:
    source = tmp_path / "in.png"
    Image.fromarray(photograph).save(source)
    main(["edit", str(source), "--to", "anger", "--model", str(folder), "-o", str(tmp_path / "command.png")])
    record = model.edit_file(source, tmp_path / "python.png", to="anger")
    assert record == mimik.FileEdit(source, tmp_path / "python.png", 1)
    assert (tmp_path / "python.png").read_bytes() == (tmp_path / "command.png").read_bytes()
    with pytest.raises(UserError, match=r"is the photograph itself.* or pass overwrite=True\."):
        model.edit_file(source, source, to="anger")
    model.edit_file(source, source, to="anger", overwrite=True)
    assert provenance.MARK.encode() in source.read_bytes()


@pytest.mark.usefixtures("needs_finder")
def test_a_folder_is_edited_and_every_file_is_accounted_for(
    tmp_path: Path, model: mimik.Model, photograph: np.ndarray
) -> None:
    source, output = tmp_path / "in", tmp_path / "out" / "deep"
    (source / "inside").mkdir(parents=True)
    image = Image.fromarray(photograph)
    image.save(source / "a.png")
    image.save(source / "inside" / "b.bmp")
    image.save(source / "inside" / "b.bmp.png")
    image.save(source / "mine.jpg")
    Image.new("RGB", (300, 200), (90, 90, 90)).save(source / "wall.jpg")
    (source / "notes.txt").write_text("sun")
    (source / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    output.mkdir(parents=True)
    (output / "mine.jpg").write_text("mine")
    records = {str(record.source.relative_to(source)): record for record in model.edit_files(source, output, "anger")}
    assert list(records) == [
        *("a.png", "inside/b.bmp", "inside/b.bmp.png", "mine.jpg", "notes.txt", "torn.jpg", "wall.jpg")
    ]
    edited = {name for name, record in records.items() if not record.skipped}
    assert edited == {"a.png", "inside/b.bmp"}
    assert records["inside/b.bmp"].output == output / "inside" / "b.bmp.png"
    for name in edited:
        written = records[name].output
        assert written is not None and provenance.MARK.encode() in written.read_bytes()
        assert records[name].faces == 1
    for name, reason in {
        "inside/b.bmp.png": "is already the edit of another file",
        "mine.jpg": "already exists",
        "notes.txt": "expected a photograph",
        "torn.jpg": "expected a photograph",
        "wall.jpg": "no face was found",
    }.items():
        assert reason in records[name].skipped and records[name].output is None and not records[name].faces
    assert (output / "mine.jpg").read_text() == "mine"
    assert sorted(path.name for path in output.rglob("*") if path.is_file()) == ["a.png", "b.bmp.png", "mine.jpg"]
    again = model.edit_files(source, output, "happiness", overwrite=True)
    assert [record.source.name for record in again if not record.skipped] == ["a.png", "b.bmp", "mine.jpg"]


@pytest.mark.usefixtures("needs_finder")
def test_what_finds_faces_is_loaded_when_needed_and_freed(folder: Path, photograph: np.ndarray) -> None:
    with mimik.load(folder, device="cpu") as model:
        assert "_mesher" not in vars(model._editor)
        edited = model.edit(photograph, to="anger")
        assert "_mesher" in vars(model._editor)
    assert "_mesher" not in vars(model._editor)
    np.testing.assert_array_equal(model.edit(photograph, to="anger"), edited)
    model.close()
    model.close()


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (np.zeros((90, 90, 3), np.float32), TypeError, r"picture: expected uint8 \(H, W, 3\), got float32"),
        (np.zeros((90, 90), np.uint8), ValueError, r"picture: expected uint8 \(H, W, 3\), got \(90, 90\)"),
        (np.zeros((90, 90, 4), np.uint8), ValueError, r"picture: expected uint8 \(H, W, 3\)"),
        (np.zeros((0, 90, 3), np.uint8), ValueError, "expected pixels"),
        ([[1]], TypeError, "expected an array, a Pillow image or a path, got list"),
        ("nowhere.jpg", UserError, r"nowhere\.jpg: expected a photograph, but no such file"),
        (Image.new("F", (90, 90)), UserError, "picture: expected a photograph"),
    ],
)
def test_no_picture(model: mimik.Model, picture: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model.edit(picture, to="anger")
    with pytest.raises(error, match=message):
        model.find_faces(picture)


@pytest.mark.parametrize(
    ("faces", "error", "message"),
    [
        (np.zeros((2, 64, 64, 3), np.float64), TypeError, r"faces: expected uint8 \(B, 64, 64, 3\), got float64"),
        (np.zeros((2, 32, 32, 3), np.uint8), ValueError, r"got \(2, 32, 32, 3\)"),
        (np.zeros((64, 64, 3), np.uint8), ValueError, r"got \(64, 64, 3\)"),
        ("faces.npy", TypeError, r"faces: expected an array, uint8 \(B, 64, 64, 3\), got str"),
    ],
)
def test_no_aligned_faces(model: mimik.Model, faces: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model.edit_faces(faces, to="anger")


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"to": "angry"}, UserError, r"to angry: this model knows neutral, happiness, anger\. Did you mean anger"),
        ({"to": 2}, TypeError, "to: expected a name, or shares by name"),
        ({}, UserError, "to: name an expression, or action units with action_units"),
        ({"to": "anger", "strength": STRONGEST + 0.1}, UserError, "strength 2.1: expected a number from 0 to 2"),
        ({"to": "anger", "strength": float("nan")}, UserError, "strength nan: expected a number"),
        ({"to": "anger", "strength": "much"}, TypeError, "strength: expected a number, got 'much'"),
        ({"to": "anger", "strength": True}, TypeError, "strength: expected a number"),
        ({"to": "anger", "strength": 0.5}, UserError, "shown: name the expression"),
        ({"to": "anger", "shown": "sleep"}, UserError, "shown sleep: this model knows"),
        ({"to": "anger", "shown": 1}, TypeError, "shown: expected a name"),
        ({"action_units": {"AU12": 0.5}, "to": "anger"}, UserError, "action_units: .* conditioned on expressions"),
        ({"action_units": {"AU99": 0.5}}, UserError, "action_units AU99: 0.5: expected one of the units"),
        ({"action_units": {"AU12": 1.5}}, UserError, "a change from -1 to 1"),
        ({"action_units": {"AU12": float("nan")}}, UserError, "a change from -1 to 1"),
        ({"action_units": {"AU12": 0.1, "12": 0.1}}, UserError, "named twice"),
        ({"action_units": {"AU12": "much"}}, TypeError, "action_units: expected changes by name"),
        ({"action_units": ["AU12"]}, TypeError, "action_units: expected changes by name"),
    ],
)
def test_what_a_model_cannot_be_asked_for(
    tmp_path: Path, model: mimik.Model, asked: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Everything refuses it in the same words, before a picture is looked at."""
    with pytest.raises(error, match=message):
        model.edit(np.zeros((90, 90, 3), np.uint8), **asked)
    with pytest.raises(error, match=message):
        model.edit_faces(FACES, **asked)
    with pytest.raises(error, match=message):
        model.edit_file("nowhere.jpg", tmp_path / "out.jpg", **asked)
    with pytest.raises(error, match=message):
        model.edit_files("nowhere", tmp_path / "out", **asked)


def test_what_is_known_of_faces_fits_them(model: mimik.Model, units: mimik.Model) -> None:
    with pytest.raises(ValueError, match="shown: expected one expression, or one for each of the 5 faces"):
        model.edit_faces(FACES, to="anger", shown=["neutral"])
    with pytest.raises(TypeError, match="shown: expected a name"):
        model.edit_faces(FACES, to="anger", shown=[0] * 5)  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"measured: expected \(5, 17\) action_units, got \(5, 16\)"):
        units.edit_faces(FACES, to="anger", measured=np.zeros((5, 16)))
    for value in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match="measured: expected numbers from 0 to 1"):
            units.edit_faces(FACES, to="anger", measured=np.full((5, 17), value))
    with pytest.raises(TypeError, match="faces: expected faces returned by find_faces"):
        model.edit(np.zeros((90, 90, 3), np.uint8), to="anger", faces=[(0, 0, 50, 50)])  # type: ignore[list-item]


def test_models_that_are_not_there(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        mimik.load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: has no config\.json"):
        mimik.load(tmp_path / "empty")
    shutil.copytree(folder, tmp_path / "half")
    (tmp_path / "half" / "generator.safetensors").unlink()
    with pytest.raises(UserError, match=r"generator\.safetensors"):
        mimik.load(str(tmp_path / "half"))
    missing = "cuda:0" if not torch.cuda.is_available() else f"cuda:{torch.cuda.device_count()}"
    for device in ("toaster", missing):
        with pytest.raises(ValueError, match=f"device: expected a device of this machine, such as cpu, got '{device}'"):
            mimik.load(folder, device=device)


@pytest.mark.usefixtures("needs_finder")
def test_a_picture_without_a_face(model: mimik.Model) -> None:
    wall = np.full((200, 300, 3), 90, np.uint8)
    assert model.find_faces(wall) == []
    with pytest.raises(UserError, match=r"picture: no face was found\. In a picture of 300 x 200 pixels"):
        model.edit(wall, to="anger")


def test_folders_that_are_none(tmp_path: Path, model: mimik.Model) -> None:
    source = tmp_path / "in"
    with pytest.raises(UserError, match=r"in: expected a photograph or a folder of photographs"):
        model.edit_files(source, tmp_path / "out", to="anger")
    source.mkdir()
    with pytest.raises(UserError, match=r"in: expected photographs, but no file in it is a picture\.$"):
        model.edit_files(source, tmp_path / "out", to="anger")
    (source / "notes.txt").write_text("sun")
    with pytest.raises(UserError, match=r"no file in it is a picture; the first of 1: .*notes\.txt: expected"):
        model.edit_files(source, tmp_path / "out", to="anger")
    for output in (source, source / "out"):
        with pytest.raises(UserError, match="nothing may be added"):
            model.edit_files(source, output, to="anger")
    with pytest.raises(UserError, match=r"notes\.txt: expected a folder to write to"):
        model.edit_files(source, source / "notes.txt", to="anger")
    assert not (tmp_path / "out").exists()
