"""A small store as image folders: every pixel, both layouts, stopped and gone on, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.inspection import export as module
from mimik.inspection.export import LAYOUTS, UNLABELLED, export
from mimik.labels import IGNORED, SEGMENTATION_CLASSES
from mimik.storage.files import read_json, write_json
from tests.tiny import make_described_store


@pytest.fixture
def store(tmp_path: Path) -> FaceStore:
    return make_described_store(tmp_path)[0]


def pictures(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_face_is_where_the_layout_says_with_its_pixels(store: FaceStore, tmp_path: Path, layout: str) -> None:
    out = tmp_path / "out"
    omitted = export(store.directory, out, layout, progress=False)
    index = pd.read_csv(out / "index.csv", dtype=str, keep_default_na=False)
    labelled = layout == "stargan"
    assert omitted == (2 if labelled else 0)
    assert len(index) == 48 - omitted
    assert index.columns.tolist() == ["png", *store.table.columns]
    assert pictures(out) == sorted(index["png"])
    position = {identifier: row for row, identifier in enumerate(store.table["id"])}
    for row in index.to_dict("records"):
        assert row["png"] == f"{row['split']}/{row['expression'] or UNLABELLED}/{row['id']}.png"
        with Image.open(out / row["png"]) as picture:
            assert np.array_equal(np.asarray(picture), store.images[position[row["id"]]])
    licence = (out / "LICENCE.txt").read_text()
    assert "Only for you." in licence
    assert "Nobody 2020." in licence
    assert "must not be passed on" in licence
    assert sorted(path.name for path in out.iterdir()) == [
        "LICENCE.txt", "export.json", "index.csv", "test", "train", "val"
    ]  # fmt: skip


def test_the_table_keeps_its_numbers(store: FaceStore, tmp_path: Path) -> None:
    export(store.directory, tmp_path / "out", "folders", progress=False)
    index = pd.read_csv(tmp_path / "out" / "index.csv", keep_default_na=False, float_precision="round_trip")
    assert np.array_equal(index["AU12"].to_numpy(), store.table["AU12"].to_numpy())


def test_every_split_of_stargan_has_every_class_so_that_their_numbers_agree(store: FaceStore, tmp_path: Path) -> None:
    table = store.table.copy()
    table.loc[(table["split"] == "test") & (table["expression"] == "happiness"), "split"] = "train"
    table.to_csv(store.directory / "index.csv", index=False)
    export(store.directory, tmp_path / "out", "stargan", progress=False)
    for split in ("train", "val", "test"):
        assert {path.name for path in (tmp_path / "out" / split).iterdir()} == set(store.classes)
    assert not list((tmp_path / "out" / "test" / "happiness").iterdir())


def test_stopped_and_gone_on(store: FaceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    original, count = module.atomic_path, [0]

    def stopping(path: Path):  # type: ignore[no-untyped-def]
        count[0] += 1
        if count[0] == 12:
            raise KeyboardInterrupt
        return original(path)

    monkeypatch.setattr(module, "atomic_path", stopping)
    with pytest.raises(KeyboardInterrupt):
        export(store.directory, out, "folders", progress=False)
    monkeypatch.undo()
    assert not (out / "index.csv").exists()
    first = pictures(out)
    assert len(first) == 11
    # What a kill and a power cut leave: a temporary file, and a picture without content.
    (out / first[0]).with_name(f".{Path(first[0]).name}.77.tmp.png").write_bytes(b"half")
    (out / first[1]).write_bytes(b"")
    kept = {name: (out / name).stat().st_mtime_ns for name in first if name != first[1]}
    export(store.directory, out, "folders", progress=False)
    export(store.directory, out, "folders", progress=False)
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept
    index = pd.read_csv(out / "index.csv")
    assert pictures(out) == sorted(index["png"])
    assert all((out / name).stat().st_size for name in pictures(out))
    assert not [path for path in out.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("change", ["layout", "digest"])
def test_another_export_is_not_mixed_in(store: FaceStore, tmp_path: Path, change: str) -> None:
    out = tmp_path / "out"
    export(store.directory, out, "folders", progress=False)
    before = pictures(out)
    if change == "digest":
        path = store.directory / "manifest.json"
        write_json(path, read_json(path) | {"digest": "tiny-1"})
    with pytest.raises(UserError, match="contains another export"):
        export(store.directory, out, "stargan" if change == "layout" else "folders", progress=False)
    assert pictures(out) == before


def test_a_folder_of_somebody_else_is_left_alone(store: FaceStore, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"mine: is not empty"):
        export(store.directory, out, "folders", progress=False)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]
    with pytest.raises(UserError, match=r"thesis\.tex: is a file"):
        export(store.directory, out / "thesis.tex", "folders", progress=False)
    with pytest.raises(UserError, match="which mimik reads"):
        export(store.directory, store.directory / "out", "folders", progress=False)
    assert not (store.directory / "out").exists()


def test_what_cannot_be_exported_is_one_message_and_leaves_no_folder(store: FaceStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="mimik data prepare rafd"):
        export(tmp_path / "rafd", out, "folders", progress=False)
    with pytest.raises(UserError, match="64 px is needed"):
        export(store.directory, out, "folders", 64, progress=False)
    with pytest.raises(UserError, match="expected one of folders, stargan, targets; found 'flat'"):
        export(store.directory, out, "flat", progress=False)
    table = store.table.assign(expression="")
    table.to_csv(store.directory / "index.csv", index=False)
    with pytest.raises(UserError, match="no face has a label"):
        export(store.directory, out, "stargan", progress=False)
    assert not out.exists()


@pytest.mark.parametrize("name", ["a/b", "..", "", " sad", "_unlabelled", "Neutral", "a:b"])
def test_classes_that_are_no_folders_are_refused(store: FaceStore, tmp_path: Path, name: str) -> None:
    path = store.directory / "manifest.json"
    write_json(path, read_json(path) | {"classes": [*store.classes, name]})
    with pytest.raises(
        UserError, match=r"cannot be the name of a folder|differ only in capitalisation|expected a name"
    ):
        export(store.directory, tmp_path / "out", "folders", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_are_palette_pictures_beside_the_faces(store: FaceStore, tmp_path: Path, layout: str) -> None:
    out = tmp_path / "out"
    assert store.masks is not None
    masks = np.array(store.masks)
    masks[5, :4] = IGNORED
    np.save(store.directory / "masks_16.npy", masks)
    export(store.directory, out, layout, masks=True, progress=False)
    index = pd.read_csv(out / "index.csv", dtype=str, keep_default_na=False)
    assert index.columns[:2].tolist() == ["png", "mask"]
    assert (index["mask"] == "masks/" + index["png"]).all()
    assert pictures(out) == sorted([*index["png"], *index["mask"]])
    position = {identifier: row for row, identifier in enumerate(store.table["id"])}
    classes = pd.read_csv(out / "masks" / "classes.csv").set_index("value")
    assert classes["class"].tolist() == [*SEGMENTATION_CLASSES, "unknown"]
    for row in index.to_dict("records"):
        with Image.open(out / row["mask"]) as picture:
            assert picture.mode == "P"
            values, colours = np.asarray(picture), np.asarray(picture.convert("RGB"))
        assert np.array_equal(values, masks[position[row["id"]]])
        assert np.array_equal(
            colours, classes.loc[values.ravel(), ["red", "green", "blue"]].to_numpy().reshape(16, 16, 3)
        )
    gone = out / index["mask"][3]
    gone.write_bytes(b"")
    export(store.directory, out, layout, masks=True, progress=False)
    assert gone.stat().st_size
    with pytest.raises(UserError, match="contains another export"):
        export(store.directory, out, layout, progress=False)


def test_masks_that_are_not_there_cannot_be_exported(store: FaceStore, tmp_path: Path) -> None:
    (store.directory / "masks_16.npy").unlink()
    with pytest.raises(UserError, match=r"no masks_16\.npy"):
        export(store.directory, tmp_path / "out", "folders", masks=True, progress=False)
    assert not (tmp_path / "out").exists()


def test_temporary_files_of_somebody_else_stay(store: FaceStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(store.directory, out, "folders", progress=False)
    (out / ".notes.tmpl").write_text("mine")
    (out / ".x.png.77.tmp.png").write_text("left by a kill")
    export(store.directory, out, "folders", progress=False)
    assert (out / ".notes.tmpl").read_text() == "mine" and not (out / ".x.png.77.tmp.png").exists()
