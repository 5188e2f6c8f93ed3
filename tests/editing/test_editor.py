"""Editing photographs: on a real one, with a method of random weights (what it paints does not matter here)."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mimik.cli import main
from mimik.editing import commands, files
from mimik.editing import editor as editing
from mimik.editing.wishes import Wish, unit_changes
from mimik.errors import UserError
from mimik.faces import alignment
from mimik.labels import ACTION_UNITS
from mimik.methods import stargan
from mimik.storage import provenance
from tests.editing.models import make_model

pytestmark = pytest.mark.slow

pytest.importorskip("mediapipe")


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    from skimage.data import astronaut

    image: np.ndarray = astronaut()
    return image


@pytest.fixture(scope="module")
def crowd(photograph: np.ndarray) -> np.ndarray:
    """The same person three times, at different sizes, on a grey wall."""
    wall = np.full((700, 1500, 3), 128, np.uint8)
    for left, top, size in ((20, 60, 600), (650, 200, 380), (1100, 100, 350)):
        wall[top : top + size, left : left + size] = np.asarray(Image.fromarray(photograph).resize((size, size)))
    return wall


def test_all_faces_are_edited_and_nothing_else(tmp_path: Path, crowd: np.ndarray) -> None:
    source, output = tmp_path / "crowd.png", tmp_path / "edited.png"
    Image.fromarray(crowd).save(source)
    model = make_model(tmp_path / "model")
    main(["edit", str(source), "--to", "happiness", "--model", str(model), "-o", str(output)])
    edited = np.asarray(Image.open(output))
    changed = (edited != crowd).any(-1)
    editor = editing.PhotographEditor(model)
    found = editor.faces(crowd)
    assert len(found) == 3
    allowed = np.zeros(changed.shape, bool)
    for face in found:
        inside = alignment.apply(face.transform, np.stack(np.indices(changed.shape)[::-1], -1) + 0.5)
        square = ((inside > 0) & (inside < 1)).all(-1)
        allowed |= square
        middle = ((inside > 0.3) & (inside < 0.7)).all(-1)
        assert changed[middle].mean() > 0.5
    assert not (changed & ~allowed).any()


def test_the_generator_sees_what_training_would_have_shown_it(tmp_path: Path, photograph: np.ndarray) -> None:
    from mimik.faces.reconstruction.reconstruct import Reconstructor, Rejected

    editor = editing.PhotographEditor(make_model(tmp_path / "model"))
    prepared = Reconstructor([128, 64], annotations=())(photograph)
    assert not isinstance(prepared, Rejected)
    found = editor.faces(photograph)
    np.testing.assert_array_equal(editor.crops(photograph, found[:1])[0], prepared.images[64])


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
def test_pictures_are_marked_as_synthetic(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out.{ending}"
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    provenance.write_edit(path, picture, "stargan", "happiness")
    assert provenance.MARK.encode() in path.read_bytes()
    if ending in ("png", "tif"):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)


def test_a_rotated_photograph_comes_out_upright(tmp_path: Path, photograph: np.ndarray) -> None:
    turned = Image.fromarray(photograph).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 270 degrees to see it upright
    turned.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(files.read(tmp_path / "turned.png").seen, photograph)


def test_sheets_have_a_row_for_every_face(tmp_path: Path, crowd: np.ndarray) -> None:
    source, model = tmp_path / "crowd.png", make_model(tmp_path / "model")
    Image.fromarray(crowd).save(source)
    output = tmp_path / "sheet.png"
    main(["edit", str(source), "--sheet", "expressions", "--model", str(model), "-o", str(output)])
    assert Image.open(output).size == (4 * 260 - 4, 24 + 3 * 260 - 4)
    command = ["edit", str(source), "--sheet", "strengths", "--to", "anger", "--from", "neutral"]
    main([*command, "--model", str(model), "-o", str(output)])
    assert Image.open(output).size[0] == (1 + len(editing.STRENGTHS)) * 260 - 4


def test_states_of_labels_and_of_action_units(tmp_path: Path, photograph: np.ndarray) -> None:
    labels = editing.PhotographEditor(make_model(tmp_path / "labels"))
    found = labels.faces(photograph)
    source, target = labels.states(found, Wish("anger", 0.25, "neutral"))
    assert source.tolist() == [[1, 0, 0]] and target.tolist() == [[0.75, 0, 0.25]]
    units = editing.PhotographEditor(make_model(tmp_path / "units", space="action_units", form="relative"))
    source, target = units.states(found, Wish(units={"AU12": 0.5}))
    assert torch.equal(source[0], torch.from_numpy(found[0].units))
    change = torch.zeros(17)
    change[ACTION_UNITS.index("AU12")] = 0.5
    torch.testing.assert_close(target - source, change[None])
    half = units.states(found, Wish("happiness", 0.5))[1]
    torch.testing.assert_close(half, (source + units.condition.class_units[1]) / 2)


def test_what_a_model_was_trained_on_is_told(
    tmp_path: Path, portrait: Path, photograph: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    grey = tmp_path / "grey.png"
    Image.open(portrait).convert("L").save(grey)
    for trained_on, source, words in (
        ({"grey": False, "rendered": False}, portrait, []),
        ({"grey": False, "rendered": True}, portrait, ["trained on rendered faces only"]),
        ({"grey": True, "rendered": True}, portrait, ["rendered faces only", "only the brightness is edited"]),
        ({"grey": True, "rendered": False}, grey, []),
    ):
        (folder / "config.json").write_text(json.dumps({**config, "trained_on": trained_on}))
        commands.run(source, folder, tmp_path / "out.png", Wish("anger"))
        told = capsys.readouterr().err.splitlines()
        assert len(told) == len(words) and all(word in line for word, line in zip(words, told, strict=True))
        commands.run(source, folder, tmp_path / "out.png", Wish(), "expressions")
        assert capsys.readouterr().err.splitlines() == told


def test_a_grey_model_is_shown_grey_and_keeps_the_colours(
    tmp_path: Path, photograph: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "trained_on": {"grey": True, "rendered": False}}))
    shown = []

    def lighter_and_redder(self: object, images: torch.Tensor, *states: torch.Tensor) -> torch.Tensor:
        shown.append(images)
        return images + torch.tensor([0.3, 0.0, 0.0])[:, None, None]

    monkeypatch.setattr(stargan.Method, "translate", lighter_and_redder)
    editor = editing.PhotographEditor(folder)
    dim = (photograph // 2 + 40).astype(np.uint8)
    edited = editor.edit(dim, editor.faces(dim), Wish("anger")).astype(int)
    assert torch.equal(shown[-1][:, 0], shown[-1][:, 1]) and torch.equal(shown[-1][:, 0], shown[-1][:, 2])
    change = edited - dim
    assert 10 <= change.max() <= 14  # a third of 0.3 in grey levels
    assert np.ptp(change, axis=-1).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "joy"], "knows neutral, happiness, anger"),
        (["--to", "anger", "--au", "12=0.5"], "conditioned on expressions"),
        (["--to", "anger", "--strength", "0.5"], "--from"),
        ([], "name an expression"),
        (["--au", "99=1"], "one of the units 1, 2, 4"),
        (["--au", "12=much"], "like 12=.0.5"),
    ],
)
def test_what_a_model_cannot_be_asked_for_is_told(tmp_path: Path, photograph: np.ndarray, arguments, message) -> None:
    with pytest.raises(UserError, match=message):
        texts = [text for option, text in itertools.pairwise(arguments) if option == "--au"]
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        wish = Wish(options.get("--to"), float(options.get("--strength", 1)), None, unit_changes(texts))
        editing.PhotographEditor(make_model(tmp_path / "model")).check(wish)


def test_faults_outside_are_told_by_name(tmp_path: Path) -> None:
    Image.new("RGB", (300, 300), (90, 90, 90)).save(tmp_path / "wall.png")
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    model = make_model(tmp_path / "model")
    wish = Wish("anger")
    for photograph, output, message in (
        ("wall.png", "out.png", "no face was found"),
        ("torn.jpg", "out.png", "torn.jpg: expected a photograph"),
        ("none.jpg", "out.png", "none.jpg: expected a photograph, but no such file"),
        ("wall.png", "out.bmp", "ends in .png"),
    ):
        with pytest.raises(UserError, match=message):
            commands.run(tmp_path / photograph, model, tmp_path / output, wish)
        assert not (tmp_path / output).exists()
    with pytest.raises(UserError, match=r"config\.json"):
        commands.run(tmp_path / "wall.png", tmp_path / "elsewhere", tmp_path / "out.png", wish)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "template": "other-2"}))
    with pytest.raises(UserError, match="other-2"):
        editing.PhotographEditor(model)


# --- somebody's files ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def portrait(tmp_path: Path, photograph: np.ndarray) -> Path:
    path = tmp_path / "portrait.png"
    Image.fromarray(photograph).save(path)
    return path


def alias(photograph: Path, how: str) -> Path:
    """Another name of the same file."""
    other = photograph.parent / "other.png"
    if how == "same":
        return photograph
    if how == "dots":
        (photograph.parent / "folder").mkdir()
        return photograph.parent / "folder" / ".." / photograph.name
    if how == "hard link":
        os.link(photograph, other)
    elif how == "link":
        other.symlink_to(photograph)
    else:
        (photograph.parent / "linked").symlink_to(photograph.parent, target_is_directory=True)
        return photograph.parent / "linked" / photograph.name
    return other


@pytest.mark.parametrize("how", ["same", "dots", "hard link", "link", "linked folder"])
def test_a_photograph_is_not_replaced_by_its_edit(model: Path, portrait: Path, how: str) -> None:
    before, output = portrait.read_bytes(), alias(portrait, how)
    with pytest.raises(UserError, match="is the photograph itself"):
        commands.run(portrait, model, output, Wish("anger"))
    assert portrait.read_bytes() == before
    commands.run(portrait, model, output, Wish("anger"), overwrite=True)
    assert provenance.MARK.encode() in output.read_bytes()


def test_the_command_line_has_the_word_for_it(model: Path, portrait: Path) -> None:
    command = ["edit", str(portrait), "--to", "anger", "--model", str(model), "-o", str(portrait)]
    before = portrait.read_bytes()
    with pytest.raises(SystemExit):
        main(command)
    assert portrait.read_bytes() == before
    main([*command, "--overwrite"])
    assert portrait.read_bytes() != before


@pytest.mark.parametrize("foreign", ["file", "link", "dangling link", "folder"])
def test_what_somebody_else_wrote_is_not_replaced(model: Path, portrait: Path, foreign: str) -> None:
    output, letter = portrait.with_name("out.jpg"), portrait.with_name("letter.txt")
    letter.write_text("mine")
    if foreign == "file":
        output.write_text("mine too")
    elif foreign == "folder":
        output.mkdir()
    else:
        output.symlink_to(letter if foreign == "link" else portrait.with_name("none"))
    with pytest.raises(UserError, match=r"out\.jpg: (already exists|is a link|is a folder)"):
        commands.run(portrait, model, output, Wish("anger"))
    assert letter.read_text() == "mine"


@pytest.mark.parametrize("ending", provenance.KINDS)
def test_what_mimik_wrote_is_replaced(model: Path, portrait: Path, ending: str) -> None:
    own = portrait.with_name(f"own{ending}")
    commands.run(portrait, model, own, Wish("anger"))
    first = own.stat().st_mtime_ns
    commands.run(portrait, model, own, Wish("happiness"))
    assert own.stat().st_mtime_ns != first


@pytest.mark.parametrize("name", ["letter.txt/out.png", "n" * 240 + ".png", "n" * 300 + ".png", "out.bmp", "out"])
def test_names_that_cannot_be_written_are_refused_before_any_work(
    tmp_path: Path, portrait: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "read", lambda path: pytest.fail("the photograph was read"))
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match=name[:20]):
        commands.run(portrait, tmp_path / "model", tmp_path / name, Wish("anger"))


def test_a_mark_across_two_blocks_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for start in range((1 << 20) - 30, (1 << 20) + 2, 4):
        path.write_bytes(b"x" * start + provenance.OURS[0] + b"x")
        provenance.check_output(path)


# --- what is kept, and what cannot be --------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
def test_transparency_is_kept(tmp_path: Path, model: Path, photograph: np.ndarray, ending: str) -> None:
    alpha = np.full(photograph.shape[:2], 255, np.uint8)
    alpha[:, :60], alpha[:, 60:100], alpha[90:140, 180:260] = 0, 128, 200
    Image.fromarray(np.dstack([photograph, alpha])).save(tmp_path / "in.png")
    commands.run(tmp_path / "in.png", model, tmp_path / f"out.{ending}", Wish("anger"))
    with Image.open(tmp_path / f"out.{ending}") as opened:
        result = np.asarray(opened)
    assert result.shape == (*photograph.shape[:2], 4)
    np.testing.assert_array_equal(result[..., 3], alpha)
    if ending == "webp":
        np.testing.assert_allclose(result[300:, :55, :3], photograph[300:, :55], atol=60)
        return
    np.testing.assert_array_equal(result[:, :100, :3], photograph[:, :100])
    editor = editing.PhotographEditor(model)
    seen = files.read(tmp_path / "in.png").seen
    expected = editor.edit(seen, editor.faces(seen), Wish("anger"))
    assert (expected != seen).any()
    shown = files.read(tmp_path / f"out.{ending}").seen
    darkest = 255 - alpha[..., None]  # what shines through is white
    assert np.abs(shown.astype(int) - np.maximum(expected, darkest)).max() <= 3
    np.testing.assert_array_equal(shown[alpha == 255], expected[alpha == 255])


def test_transparency_that_jpeg_cannot_hold_is_refused_before_any_work(
    tmp_path: Path, photograph: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editing, "PhotographEditor", lambda model: pytest.fail("the model was loaded"))
    alpha = np.full(photograph.shape[:2], 255, np.uint8)
    alpha[0, 0] = 254
    Image.fromarray(np.dstack([photograph, alpha])).save(tmp_path / "in.png")
    with pytest.raises(UserError, match=r"out\.jpg: .* transparent parts, which JPEG cannot store"):
        commands.run(tmp_path / "in.png", tmp_path / "model", tmp_path / "out.jpg", Wish("anger"))


def test_an_opaque_photograph_with_alpha_may_become_a_jpeg(tmp_path: Path, model: Path, photograph: np.ndarray) -> None:
    Image.fromarray(photograph).convert("RGBA").save(tmp_path / "in.png")
    commands.run(tmp_path / "in.png", model, tmp_path / "out.jpg", Wish("anger"))
    with Image.open(tmp_path / "out.jpg") as opened:
        assert opened.mode == "RGB"


@pytest.mark.parametrize(("size", "ending"), [((16_500, 40), "webp"), ((40, 16_384), "webp"), ((65_501, 8), "jpg")])
def test_a_size_that_the_format_cannot_hold_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], ending: str
) -> None:
    monkeypatch.setattr(editing, "PhotographEditor", lambda model: pytest.fail("the model was loaded"))
    Image.new("RGB", size).save(tmp_path / "in.png")
    with pytest.raises(UserError, match=rf"out\.{ending}: the picture will have {size[0]} x {size[1]} pixels"):
        commands.run(tmp_path / "in.png", tmp_path / "model", tmp_path / f"out.{ending}", Wish("anger"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_limits_are_those_of_the_formats(tmp_path: Path, kind: str) -> None:
    ending = next(ending for ending, name in provenance.KINDS.items() if name == kind)
    longest = min(provenance.LIMITS[kind], 70_000)
    provenance.write_edit(tmp_path / f"a{ending}", np.zeros((1, longest, 3), np.uint8), "", "")
    if kind != "PNG":
        with pytest.raises(UserError, match="per side"):
            provenance.write_edit(tmp_path / f"b{ending}", np.zeros((longest + 1, 1, 3), np.uint8), "", "")


@pytest.mark.parametrize("size", [(20_000, 4), (4, 20_000), (1, 1), (3, 5)])
def test_pictures_too_thin_for_a_face_have_none(tmp_path: Path, model: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (120, 90, 80)).save(tmp_path / "in.png")
    told = rf"no face was found.* {size[0]} x {size[1]} pixels, a face must be about \d+ .* crop the picture"
    with pytest.raises(UserError, match=told):
        commands.run(tmp_path / "in.png", model, tmp_path / "out.png", Wish("anger"))


def profile(length: int, space: bytes = b"RGB ") -> bytes:
    content = bytearray(np.random.default_rng(0).integers(0, 256, length, dtype=np.uint8).tobytes())
    content[0:4], content[16:20], content[36:40] = length.to_bytes(4, "big"), space, b"acsp"
    return bytes(content)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
def test_a_colour_profile_is_copied_within_a_limit_and_the_edit_stays_readable(
    model: Path, portrait: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    output, original = portrait.with_name(f"out.{ending}"), portrait.with_name("in.tif")
    for icc, kept in ((profile(3000), True), (profile(20_000_000), False), (profile(3000, b"CMYK"), False)):
        with Image.open(portrait) as opened:
            opened.save(original, icc_profile=icc)
        commands.run(original, model, output, Wish("anger"))
        assert files.read(output).profile == (icc if kept else None)
        assert ("profile" in capsys.readouterr().err) != kept


# --- numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", ["nan", "inf", "-inf", "1e38", "-5", "9", "2.001", "-0.1"])
def test_strengths_out_of_range_are_refused_before_any_work(tmp_path: Path, portrait: Path, strength: str) -> None:
    with pytest.raises(UserError, match=r"--strength .*: expected a number from 0 to 2"):
        wish = Wish("anger", float(strength), "neutral")
        commands.run(portrait, tmp_path / "no model", tmp_path / "out.png", wish)


def test_a_unit_named_twice_is_refused() -> None:
    assert unit_changes(["12=0.5", "AU1=-0.2"]) == {"AU12": 0.5, "AU01": -0.2}
    with pytest.raises(UserError, match="named twice"):
        unit_changes(["12=0.5", "AU12=-0.5"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, portrait: Path, value: float) -> None:
    from safetensors.torch import load_file

    folder = make_model(tmp_path / "model")
    state = load_file(folder / "generator.safetensors")
    name = sorted(state)[0]
    state[name].view(-1)[0] = value
    save_file(state, folder / "generator.safetensors")
    with pytest.raises(UserError, match=rf"generator\.safetensors: 1 of the .* {name} are NaN or infinite"):
        commands.run(portrait, folder, tmp_path / "out.png", Wish("anger"))
    assert not (tmp_path / "out.png").exists()


def test_edits_that_are_not_finite_are_refused(
    tmp_path: Path, model: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stargan.Method, "translate", lambda self, images, source, target: images * float("nan"))
    with pytest.raises(UserError, match=r"generator\.safetensors: the generator's output is not finite"):
        commands.run(portrait, model, tmp_path / "out.png", Wish("anger"))
    assert not (tmp_path / "out.png").exists()
