"""From a folder of photographs, good and bad, to a store; killed and resumed; and from the renderer."""

import csv
import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mimik import __version__
from mimik.datasets.listing import Listing, Total
from mimik.errors import UserError
from mimik.faces.prepared import prepare as module
from mimik.faces.prepared.lineage import code_digests
from mimik.faces.prepared.prepare import prepare
from mimik.faces.prepared.store import SPLITS, FaceStore
from mimik.labels import ACTION_UNITS
from mimik.storage.files import digest, file_sha256, read_json

OPTIONS: dict[str, Any] = {
    "classes": ["happiness", "neutral"],
    "sizes": [32, 64],
    "csv": "list.csv",
    "landmarks": "mediapipe",
    "annotations": ["landmarks", "masks", "depth", "normals"],
}
GOOD, BAD = 12, ("noface", "truncated", "text", "empty")


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory, photograph: np.ndarray) -> Path:
    """Twelve variants of a photograph, and four files that cannot be used."""
    folder = tmp_path_factory.mktemp("archive")
    rows = []
    for number in range(GOOD):
        left, top = 90 + 7 * number, 10 + 3 * number
        part = np.clip(photograph[top : top + 230, left : left + 230] * (0.7 + 0.04 * number), 0, 255)
        Image.fromarray(part.astype(np.uint8)).save(folder / f"face{number:02d}.png")
        rows.append((f"face{number:02d}.png", SPLITS[number % 3]))
    Image.fromarray(np.full((90, 90, 3), 128, np.uint8)).save(folder / "noface.jpg")
    Image.fromarray(photograph[:200, :200]).save(folder / "truncated.jpg")
    (folder / "truncated.jpg").write_bytes((folder / "truncated.jpg").read_bytes()[:3000])
    (folder / "text.jpg").write_text("not found")
    (folder / "empty.jpg").touch()
    rows += [(f"{name}.jpg", "train") for name in BAD]
    with (folder / "list.csv").open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["path", "expression", "identity", "split"])
        for number, (name, split) in enumerate(rows):
            writer.writerow([name, OPTIONS["classes"][number % 2], f"person{number}", split])
    return folder


def run(archive: Path, root: Path, *, workers: int = 1, **options: Any) -> FaceStore:
    prepare(
        "folder",
        OPTIONS | options,
        archive,
        root / "store",
        seed=1,
        workers=workers,
        mirror=None,
        work=root / "work",
        progress=False,
    )
    return FaceStore(root / "store", 64)


def contents(store: FaceStore) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in sorted(store.directory.iterdir())}


@pytest.fixture(scope="session")
def undisturbed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    pytest.importorskip("mediapipe")
    return run(archive, tmp_path_factory.mktemp("undisturbed"))


def test_the_store_opens_and_is_whole(undisturbed: FaceStore, capsys: pytest.CaptureFixture[str]) -> None:
    store = undisturbed
    assert len(store) == GOOD
    assert store.classes == ["happiness", "neutral"]
    assert store.masks is not None and store.depth is not None and store.normals is not None
    assert store.images.shape == (GOOD, 64, 64, 3) and store.normals.shape == (GOOD, 64, 64, 3)
    assert FaceStore(store.directory, 32).images.shape == (GOOD, 32, 32, 3)
    assert store.landmarks is not None and np.ptp(store.landmarks, axis=0).max() < 4  # the same face, aligned
    spread = np.ptp(np.asarray(store.images).astype(float).mean(axis=(1, 2, 3)))
    assert spread > 20  # and each row is its own picture
    assert [len(store.rows(split)) for split in SPLITS] == [4, 4, 4]
    assert {path.suffix for path in store.directory.iterdir()} == {".csv", ".json", ".npy"}


def test_the_manifest_holds_one_digest_of_all_photographs_each_read_once(
    undisturbed: FaceStore, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(f"face{number:02d}.png" for number in range(GOOD))
    lines = [f"{file_sha256(archive / name)} {(archive / name).stat().st_size} {name}\n" for name in names]
    record = undisturbed.manifest["files"]
    assert record["count"] == GOOD
    assert record["bytes"] == sum((archive / name).stat().st_size for name in names)
    assert record["sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()

    opened: list[str] = []
    original = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *a, **k: opened.append(path.name) or original(path, *a, **k))
    again = run(archive, tmp_path, sizes=[64], annotations=[])
    assert [opened.count(name) for name in names] == [1] * GOOD
    assert again.manifest["files"] == record  # whatever else is asked for
    assert again.manifest["restricted"] is True


def test_index_says_where_each_face_comes_from(undisturbed: FaceStore, archive: Path) -> None:
    table = undisturbed.table
    for source, sha256 in zip(table["source"], table["sha256"], strict=True):
        assert file_sha256(archive / source) == sha256
    numbers = table[["yaw", "pitch", "roll", "eye_distance", "coverage"]].to_numpy(float)
    assert np.isfinite(numbers).all()
    assert (np.abs(table["eye_distance"].astype(float) - 43.6) < 1.5).all()
    transforms = np.load(undisturbed.directory / "transforms.npy")
    landmarks = np.load(undisturbed.directory / "landmarks.npy")
    eyes = np.linalg.norm(landmarks[:, 36:42].mean(1) - landmarks[:, 42:48].mean(1), axis=1)
    scale = np.sqrt(np.linalg.det(transforms[:, :, :2].astype(float)))
    assert np.allclose(eyes / scale, table["eye_distance"].astype(float), rtol=1e-4)


def test_the_datasets_own_yaw_is_kept_beside_the_measured_one(
    archive: Path,
    tmp_path: Path,
    undisturbed: FaceStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mimik.datasets import folder

    def with_yaw(*arguments: Any) -> Listing:
        listing = found(*arguments)
        return replace(listing, table=listing.table.assign(yaw=45), totals=[Total("photographs", 16, 20)])

    found = folder.index
    monkeypatch.setattr(folder, "index", with_yaw)
    table = run(archive, tmp_path, annotations=["masks"]).table
    assert "folder: not the complete release: 16 of 20 photographs." in capsys.readouterr().err
    assert read_json(tmp_path / "store" / "manifest.json")["found"] == ["16 of 20 photographs"]
    assert set(table["yaw"]) == {45}
    assert table["measured_yaw"].tolist() == undisturbed.table["yaw"].tolist()
    assert table["pitch"].tolist() == undisturbed.table["pitch"].tolist()


def test_everything_else_is_in_the_quarantine_once_with_its_reason(undisturbed: FaceStore) -> None:
    listed = pd.read_csv(undisturbed.directory / "quarantine.csv")
    reasons = {Path(path).stem: (stage, reason) for path, stage, reason in listed.itertuples(index=False)}
    assert len(listed) == len(reasons) == len(BAD) and set(reasons) == set(BAD)
    assert reasons["noface"] == ("landmarks", "no face found")
    assert reasons["truncated"][0] == "read" and "truncated" in reasons["truncated"][1].lower()
    assert reasons["text"][0] in ("listing", "read") and reasons["empty"][0] in ("listing", "read")
    manifest = undisturbed.manifest
    assert sum(manifest["quarantined"].values()) == len(BAD)
    tried = GOOD + sum(manifest["quarantined"].get(stage, 0) for stage in ("read", "landmarks"))
    assert manifest["aligned_fraction"] == pytest.approx(GOOD / tried)


def test_manifest_counts_and_names_what_made_it(undisturbed: FaceStore) -> None:
    manifest = undisturbed.manifest
    assert manifest["sizes"] == [32, 64]
    assert {split: sum(counts.values()) for split, counts in manifest["counts"].items()} == dict.fromkeys(SPLITS, 4)
    assert manifest["landmarks"] == "mediapipe" and manifest["packages"][0].startswith("mediapipe 0.10")
    assert manifest["template"] == "five-points-1"
    importer = {"module": "folder", "version": __version__, "layout": "labelled by list.csv"}
    assert importer.items() <= manifest["importer"].items()
    assert manifest["importer"]["code_sha256"] == digest(code_digests("folder"))
    assert manifest["importer"]["decoder"].startswith("pillow ")
    assert len(manifest["arrays"]) == 10


def test_interrupted_and_resumed_gives_the_same_bytes(
    archive: Path,
    tmp_path: Path,
    undisturbed: FaceStore,
    monkeypatch: pytest.MonkeyPatch,
    interrupted_after: Callable[[int], list[int]],
) -> None:
    monkeypatch.setattr(module, "SHARD_ROWS", 3)
    count = interrupted_after(8)
    with pytest.raises(KeyboardInterrupt):
        run(archive, tmp_path)
    assert not (tmp_path / "store" / "manifest.json").exists()
    assert len(list((tmp_path / "work" / "shards").iterdir())) == 2  # whole shards only, no temporary files
    store = run(archive, tmp_path)
    # Of the 8 first photographs 6 were finished; only the others were looked at again.
    assert count[0] - 8 == GOOD + 1 - 6
    assert contents(store) == contents(undisturbed)
    assert not (tmp_path / "work" / "shards").exists()


SCRIPT = """
import sys
from pathlib import Path
from mimik.faces.prepared import prepare
from tests.faces.prepared.test_prepare import OPTIONS
prepare.SHARD_ROWS = 2
archive, root = Path(sys.argv[1]), Path(sys.argv[2])
prepare.prepare("folder", OPTIONS, archive, root / "store", seed=1, workers=2, mirror=None, work=root / "work")
"""


@pytest.mark.slow
def test_killed_with_two_workers_and_resumed_gives_the_same_bytes(
    archive: Path, tmp_path: Path, undisturbed: FaceStore
) -> None:
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    command = [sys.executable, "-c", SCRIPT, str(archive), str(tmp_path)]
    first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "work" / "shards").glob("0*.npz")):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "store" / "manifest.json").exists()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert second.returncode == 0, second.stderr
    assert f"{GOOD} faces prepared" in second.stderr and "quarantine.csv" in second.stderr
    assert contents(FaceStore(tmp_path / "store", 64)) == contents(undisturbed)


def test_other_options_do_not_use_old_shards_or_leave_old_arrays(
    archive: Path, tmp_path: Path, undisturbed: FaceStore
) -> None:
    shutil.copytree(undisturbed.directory, tmp_path / "store")
    shards = tmp_path / "work" / "shards"
    shards.mkdir(parents=True)
    (shards / "000000-0123456789.npz").write_bytes(b"of other settings")
    store = run(archive, tmp_path, sizes=[64], annotations=[], grey=True)
    assert {path.name for path in store.directory.glob("*.npy")} == {
        "images_64.npy",
        "landmarks.npy",
        "transforms.npy",
    }
    assert store.masks is None and store.depth is None
    images = np.asarray(store.images)
    assert (images == images[..., :1]).all()
    assert store.digest != undisturbed.digest


def test_precomputed_landmarks_are_used_and_checked(archive: Path, tmp_path: Path, undisturbed: FaceStore) -> None:
    folder = tmp_path / "archive"
    shutil.copytree(archive, folder)
    transforms = np.load(undisturbed.directory / "transforms.npy").astype(float)
    points = np.load(undisturbed.directory / "landmarks.npy").astype(float)
    source = np.linalg.inv(transforms[:, None, :, :2]) @ (points - transforms[:, None, :, 2])[..., None]
    by_name = dict(zip(undisturbed.table["source"], source.reshape(-1, 136), strict=True))
    table = pd.read_csv(archive / "list.csv")
    table = table[table["path"].str.startswith("face")]
    table["landmarks"] = [";".join(f"{value:.4f}" for value in by_name[path]) for path in table["path"]]
    table.loc[table["path"] == "face05.png", "landmarks"] = "1;2;3"
    table.to_csv(folder / "list.csv", index=False)
    store = run(folder, tmp_path, landmarks="precomputed", annotations=[])
    assert len(store) == GOOD - 1
    assert "landmarks" not in store.table and "yaw" not in store.table
    kept = [row for row, name in enumerate(undisturbed.table["source"]) if name != "face05.png"]
    assert np.abs(np.asarray(store.images).astype(int) - undisturbed.images[kept]).max() <= 2
    assert "found 3" in (store.directory / "quarantine.csv").read_text()


def test_a_full_disk_leaves_no_manifest_and_no_half_file(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mediapipe")

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(UserError, match="disk is full"):
        run(archive, tmp_path, sizes=[64], annotations=[])
    assert not list((tmp_path / "store").iterdir())
    monkeypatch.undo()
    assert len(run(archive, tmp_path, sizes=[64], annotations=[])) == GOOD


def test_too_small_a_disk_is_told_before_any_work(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(UserError, match="MB are free"):
        run(archive, tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"sizes": []}, {"sizes": [8]}, {"annotations": ["hair"]}, {"grey": "yes"}, {"landmarks": "dlib"}]
)
def test_unusable_options_are_named(archive: Path, tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        run(archive, tmp_path, **wrong)


def test_no_usable_image_at_all_is_the_users_business(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "read_photograph", lambda path, **_: np.zeros((64, 64, 3), np.uint8))
    pytest.importorskip("mediapipe")
    with pytest.raises(UserError, match="no face found"):
        run(archive, tmp_path, sizes=[64])


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (lambda number: number % 2 == 0, r"no aligned faces of the class 'happiness' are left in the split train"),
        (
            lambda number: number % 6 == 0,
            r"of the class 'happiness' are left in the split train \(happiness 0, neutral 2",
        ),
        (lambda number: number % 3 == 1, r"a split is empty \(train 4, val 0, test 4 aligned faces\)"),
    ],
)
def test_alignment_that_leaves_a_class_or_a_split_without_faces_is_refused(
    archive: Path,
    tmp_path: Path,
    undisturbed: FaceStore,
    monkeypatch: pytest.MonkeyPatch,
    lost: Callable[[int], bool],
    told: str,
) -> None:
    original = module.read_photograph

    def read(path: Path, **options: Any) -> np.ndarray:
        faceless = path.stem.startswith("face") and lost(int(path.stem[4:]))
        return np.zeros((64, 64, 3), np.uint8) if faceless else original(path, **options)

    shutil.copytree(undisturbed.directory, tmp_path / "store")
    monkeypatch.setattr(module, "read_photograph", read)
    with pytest.raises(UserError, match=told) as caught:
        run(archive, tmp_path, sizes=[64], annotations=[])
    assert "x no face found" in str(caught.value)
    assert contents(FaceStore(tmp_path / "store", 64)) == contents(undisturbed)  # what was there before is whole


def test_classes_that_openface_leaves_empty_are_refused_before_any_face(archive: Path, tmp_path: Path) -> None:
    from tests.faces.action_units.test_extractors import openface_csv

    options = {"action_units": "openface", "openface_csv": str(tmp_path / "units.csv"), "sizes": [64]}
    openface_csv(tmp_path / "units.csv", {f"face{number:02d}.png": {} for number in range(0, GOOD, 2)})
    with pytest.raises(UserError, match=r"units\.csv: no images of the class 'neutral' are left in the split train"):
        run(archive, tmp_path, **options)
    assert not (tmp_path / "store").exists()


def test_rendered_faces_are_stored_as_rendered(tmp_path: Path) -> None:
    from mimik.datasets import synthetic

    options = {
        "classes": ["neutral", "happiness"],
        "sizes": [16, 32],
        "identities": {"train": 2, "val": 1, "test": 1},
    }
    prepare(
        "synthetic",
        options,
        tmp_path / "raw",
        tmp_path / "store",
        seed=0,
        workers=1,
        mirror=None,
        work=tmp_path / "work",
        progress=False,
    )
    store = FaceStore(tmp_path / "store", 32)
    table = synthetic.index(tmp_path / "raw", options, 0).table
    expected = synthetic.render(table, 32, ("images", "masks", "depth", "normals", "landmarks"))
    assert store.table["id"].tolist() == table["id"].tolist()
    for name in ("images", "masks", "depth", "normals"):
        assert np.array_equal(getattr(store, name), getattr(expected, name))
    assert np.array_equal(np.load(tmp_path / "store" / "landmarks.npy"), expected.landmarks)
    assert np.isnan(np.load(tmp_path / "store" / "transforms.npy")).all()
    assert store.action_units() is not None
    manifest = read_json(tmp_path / "store" / "manifest.json")
    assert manifest["classes"] == options["classes"] and manifest["aligned_fraction"] is None


def rendered(root: Path, workers: int = 1, **options: Any) -> FaceStore:
    people = {"train": 1, "val": 1, "test": 3}
    prepare(
        "synthetic",
        {"classes": ["neutral", "happiness", "anger"], "sizes": [16, 32], "identities": people, **options},
        root / "raw",
        root / "store",
        seed=0,
        workers=workers,
        mirror=None,
        work=root / "work",
        progress=False,
    )
    return FaceStore(root / "store", 16)


def test_test_faces_get_the_true_target_of_every_edit(tmp_path: Path) -> None:
    from mimik.datasets import synthetic

    store = rendered(tmp_path)
    faces = store.table[store.table["split"] == "test"]
    assert store.truth is not None and store.truth_action_units is not None
    assert store.truth.shape == (9, 3, 16, 16, 3) and store.truth.dtype == np.uint8
    assert FaceStore(store.directory, 32).truth.shape == (9, 3, 32, 32, 3)  # type: ignore[union-attr]
    for position, name in enumerate(store.classes):
        target = synthetic.with_expression(faces, name)
        assert np.array_equal(store.truth[:, position], synthetic.render(target, 16, ("images",)).images)
        units = target[list(ACTION_UNITS)].to_numpy(np.float32)
        assert np.array_equal(store.truth_action_units[:, position], units)
    assert {"truth_16.npy", "truth_32.npy", "truth_action_units.npy"} <= set(store.manifest["arrays"])


@pytest.mark.slow
def test_small_shards_and_several_workers_make_the_same_true_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rendered(tmp_path / "whole")
    cuts: list[int] = []
    original = module.run
    monkeypatch.setattr(module, "SHARD_ROWS", 10)
    monkeypatch.setattr(
        module, "run", lambda shards, *a, **k: cuts.extend(len(s.rows) for s in shards) or original(shards, *a, **k)
    )
    pieces = rendered(tmp_path / "pieces", workers=2)
    assert cuts == [7, 2, 2, 2, 2]  # six faces and a test face of four pictures, then two test faces each
    assert contents(pieces) == contents(whole)


def test_true_targets_are_grey_where_the_faces_are(tmp_path: Path) -> None:
    store = rendered(tmp_path, sizes=[16], grey=True)
    assert store.truth is not None
    assert (store.truth[...] == store.truth[..., :1]).all() and np.ptp(store.truth) > 50
