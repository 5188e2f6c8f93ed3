"""Pictures made elsewhere: taken in from a folder, refused when they do not fit, measured like a method's own."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mimik.editing.editor import PhotographEditor
from mimik.errors import UserError
from mimik.evaluation.submission import DECLARATION, read_declaration, take_in
from mimik.inspection.export import TARGETS, Wanted, export
from mimik.reporting.report import comparison
from mimik.settings.scoring import is_submitted
from mimik.storage.records import read_record
from tests.evaluation.test_evaluate import project, run  # noqa: F401 (a fixture)
from tests.tiny import make_described_store

SETTINGS = {"scale": "smoke", "protocol": "published", "seed": 0, "image_size": 16, "limit": 5}


def paint(export_folder: Path, output: Path, draw: Callable[[np.ndarray, str], np.ndarray]) -> None:
    """What a colleague's program does: reads targets.csv and the faces, writes pictures and method.json."""
    for line in pd.read_csv(export_folder / "targets.csv", dtype=str, keep_default_na=False).to_dict("records"):
        with Image.open(export_folder / line["face"]) as face:
            made = draw(np.asarray(face), line["target"])
        (output / line["output"]).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made).save(output / line["output"])
    declared = json.loads((export_folder / DECLARATION).read_text())
    declared |= {"name": "theirs", "description": "A colleague's network.", "licence": "MIT"}
    (output / DECLARATION).write_text(json.dumps(declared))


@pytest.fixture
def world(tmp_path: Path) -> SimpleNamespace:
    """A store, an export of five of its test faces, and pictures of them: brighter by ten for every target."""
    store, _ = make_described_store(tmp_path)
    wanted, outputs = tmp_path / "wanted", tmp_path / "outputs"
    export(store.directory, wanted, TARGETS, 16, progress=False, wanted=Wanted(5, 0))
    paint(wanted, outputs, lambda face, target: np.where(face < 200, face + 10 * store.classes.index(target), face))
    return SimpleNamespace(store=store, wanted=wanted, outputs=outputs, result=tmp_path / "results" / "folder/theirs")


def score(world: SimpleNamespace, **settings: Any) -> None:
    take_in(
        world.outputs,
        read_declaration(world.outputs),
        world.store.directory,
        {**SETTINGS, **settings},
        world.result,
    )


def test_the_export_has_the_faces_and_what_is_wanted_of_them(world: SimpleNamespace) -> None:
    assert sorted(path.name for path in world.wanted.iterdir()) == [
        "LICENCE.txt", "export.json", "faces", "index.csv", "method.json", "targets.csv",
    ]  # fmt: skip
    index = pd.read_csv(world.wanted / "index.csv", dtype=str)
    assert len(index) == 5 and set(index["split"]) == {"test"}
    wanted = pd.read_csv(world.wanted / "targets.csv", dtype=str)
    assert len(wanted) == 5 * 4
    assert wanted.groupby("id")["target"].apply(list).tolist() == [world.store.classes] * 5
    assert set(wanted["output"]) == {f"{line.target}/{line.id}.png" for line in wanted.itertuples()}
    shown = dict(zip(world.store.table["id"], world.store.table["expression"], strict=True))
    assert all(line.source == shown[line.id] for line in wanted.itertuples())


def test_going_on_with_an_export_keeps_what_was_filled_in(world: SimpleNamespace) -> None:
    declared = json.loads((world.wanted / DECLARATION).read_text())
    (world.wanted / DECLARATION).write_text(json.dumps({**declared, "name": "mine"}))
    export(world.store.directory, world.wanted, TARGETS, 16, progress=False, wanted=Wanted(5, 0))
    assert read_declaration(world.wanted).name == "mine"
    with pytest.raises(UserError, match="contains another export"):
        export(world.store.directory, world.wanted, TARGETS, 16, progress=False, wanted=Wanted(5, 1))


def test_attributes_are_wanted_in_place_of_expressions(world: SimpleNamespace, tmp_path: Path) -> None:
    table = world.store.table.assign(attribute_Smiling=1, attribute_Young=0)
    table.to_csv(world.store.directory / "index.csv", index=False)
    for name, attributes in (("one", ("Young",)), ("none", ("Bald",))):
        wanted = Wanted(None, 0, attributes)
        if name == "none":
            with pytest.raises(UserError, match="has no attribute Bald; it has Smiling, Young"):
                export(world.store.directory, tmp_path / name, TARGETS, 16, progress=False, wanted=wanted)
            continue
        export(world.store.directory, tmp_path / name, TARGETS, 16, progress=False, wanted=wanted)
        paint(tmp_path / name, tmp_path / "reversed", lambda face, _: 255 - face)
    lines = pd.read_csv(tmp_path / "one" / "targets.csv", dtype=str)
    assert set(lines["target"]) == {"Young"} and set(lines["source"]) == {"0"} and len(lines) == 8
    world.outputs = tmp_path / "reversed"
    score(world, limit=None)
    manifest = read_record(world.result / "translations" / "manifest.json", "translations")
    assert manifest["classes"] == ["Young"] and set(manifest["source_labels"]) == {-1}


def test_the_pictures_become_translations(world: SimpleNamespace) -> None:
    score(world)
    manifest = read_record(world.result / "translations" / "manifest.json", "translations")
    images = np.load(world.result / "translations" / "images.npy")
    labels = world.store.labels()
    assert manifest["source_labels"] == [labels[row] for row in manifest["rows"]]
    for position, row in enumerate(manifest["rows"]):
        face = world.store.images[row]
        for column in range(4):
            assert np.array_equal(images[position, column], np.where(face < 200, face + 10 * column, face))
    config = read_record(world.result / "config.json", "method")
    assert config["submitted"]["description"] == "A colleague's network." and config["submitted"]["licence"] == "MIT"
    assert is_submitted(world.result)
    with pytest.raises(UserError, match="holds pictures that were made elsewhere, and no network"):
        PhotographEditor(world.result)
    score(world)  # again, over what is there


def fault(world: SimpleNamespace) -> str:
    with pytest.raises(UserError) as caught:
        score(world)
    assert not (world.result / "translations" / "manifest.json").exists()
    return str(caught.value)


def test_all_that_is_missing_and_all_that_is_too_much_is_told_at_once(world: SimpleNamespace) -> None:
    happy = sorted((world.outputs / "happiness").iterdir())
    happy[0].rename(world.outputs / "happiness" / "renamed.png")
    for path in (world.outputs / "sadness").iterdir():
        path.unlink()
    (world.outputs / "joy").mkdir()
    (world.outputs / "sadness" / ".DS_Store").touch()
    (world.outputs / "notes.txt").touch()
    told = fault(world)
    assert "6 of 20 pictures are missing (happiness 1, sadness 5): happiness/" + happy[0].name in told
    assert "and 1 more. 2 files or folders are not wanted: happiness/renamed.png, joy/." in told


def test_pictures_that_cannot_be_used_are_told_at_once(world: SimpleNamespace) -> None:
    files = sorted((world.outputs / "happiness").iterdir())
    with Image.open(files[0]) as picture:
        picture = picture.copy()
    picture.resize((8, 8)).save(files[0])
    picture.convert("RGBA").save(files[1])
    picture.save(files[2], "JPEG")
    files[3].write_bytes(b"nothing")
    told = fault(world)
    assert "4 pictures cannot be used; expected PNG files of 8-bit RGB, 16 x 16 pixels" in told
    for file, reason in zip(files, ("is 8 x 8 pixels", "RGBA of 8 bits", "is JPEG", ""), strict=False):
        assert f"happiness/{file.name}: " in told and reason in told


def test_sixteen_bits_are_not_taken_for_eight(world: SimpleNamespace) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes(16 * 6) for _ in range(16))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0))
    file = sorted((world.outputs / "happiness").iterdir())[0]
    file.write_bytes(content + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    assert "of 16 bits, not RGB of 8 bits" in fault(world)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": ""}, "name: expected what the method is to be called"),
        ({"name": "Live Portrait"}, "it is 'Live Portrait'"),
        ({"digest": "other"}, "exported from another preparation"),
        ({"size": 32}, "size 32, but results on folder at scale smoke are of 16 px"),
        ({"size": "16"}, "size: expected a side in pixels"),
    ],
)
def test_a_declaration_that_does_not_fit(world: SimpleNamespace, change: dict[str, Any], told: str) -> None:
    declared = json.loads((world.outputs / DECLARATION).read_text())
    (world.outputs / DECLARATION).write_text(json.dumps({**declared, **change}))
    assert told in fault(world)


def test_without_folder_or_declaration(world: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_declaration(tmp_path / "nowhere")
    (world.outputs / DECLARATION).unlink()
    assert "missing. `mimik data export DATASET --layout targets` writes it" in fault(world)


def test_what_was_trained_here_is_not_overwritten(world: SimpleNamespace) -> None:
    world.result.mkdir(parents=True)
    (world.result / "config.json").write_text('{"method": "theirs"}')
    assert "holds a method that was trained or imported here" in fault(world)


def test_a_round_trip_measures_the_same(project: SimpleNamespace, tmp_path: Path) -> None:  # noqa: F811
    """A method's own translations as PNG files are measured as they are here; only its generator is missing."""
    translations = project.result / "translations"
    manifest, images = json.loads((translations / "manifest.json").read_text()), np.load(translations / "images.npy")
    outputs = tmp_path / "outputs"
    for face, identifier in enumerate(manifest["ids"]):
        for column, target in enumerate(manifest["classes"]):
            (outputs / target).mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[face, column]).save(outputs / target / f"{identifier}.png")
    declared = {"dataset": "drawn", "digest": "abc", "size": 32, "name": "theirs"}
    (outputs / DECLARATION).write_text(json.dumps(declared))
    own = run(project)
    theirs = SimpleNamespace(**{**vars(project), "result": project.result.parent / "theirs"})
    settings = {**SETTINGS, "image_size": 32, "limit": None}
    take_in(outputs, read_declaration(outputs), project.store, settings, theirs.result)
    scored = run(theirs)
    assert (scored["method"], scored["classes"], scored["dataset_digest"]) == ("theirs", own["classes"], "abc")
    different = {name for name, entry in own["metrics"].items() if scored["metrics"][name] != entry}
    assert different == {"cycle_l1", "cycle_psnr", "cycle_ssim", "miou_before", "miou_after"}
    assert all(scored["metrics"][name]["skipped"].startswith("made elsewhere") for name in different)
    faces = [(result.result / "per_face.safetensors").stat().st_size for result in (project, theirs)]
    assert 0 < faces[1] < faces[0]
    (tmp_path / "data" / "prepared").mkdir(parents=True)
    project.store.rename(tmp_path / "data" / "prepared" / "drawn")
    page = tmp_path / "report" / "index.html"
    shown = {"tables": ["results"], "figures": ["comparison_grid"]}
    comparison([project.result, theirs.result], tmp_path / "data" / "prepared", page, shown)
    text = page.read_text()
    assert "theirs: pictures made elsewhere, measured here." in text and text.count('<th scope="row">theirs</th>') == 2
