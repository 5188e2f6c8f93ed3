"""CelebAMask-HQ: labels, merging of masks, left and right; and a prepared face whose mask lies on its image."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mimik.datasets import celebamask_hq
from mimik.datasets.celeba_lists import MAPPINGS
from mimik.datasets.celebamask_hq import MERGING_ORDER, SIDE
from mimik.datasets.listing import UnusableError
from mimik.errors import UserError
from mimik.faces.alignment import apply
from mimik.faces.prepared import shards
from mimik.faces.prepared.prepare import prepare
from mimik.faces.prepared.store import FaceStore
from mimik.labels import IGNORED, SEGMENTATION_CLASSES
from mimik.storage.files import read_json
from tests.datasets.celeba_world import attribute_line, draw, reasons, touch, write_attributes, write_mapping

ATTRIBUTES, MASKS = "CelebAMask-HQ-attribute-anno.txt", "CelebAMask-HQ-mask-anno"
ORIGINS = {0: 5, 1: 6, 2: 170_000, 3: 170_001, 4: 7, 5: 8, 1999: 190_000, 2000: 190_001}
IMAGE_LEFT, IMAGE_RIGHT = (10, 20, 20, 26), (40, 20, 50, 26)
ANNOTATION = {"masks": "annotation"}


def archive(raw: Path, numbers: Sequence[int] = tuple(ORIGINS), *, left: str = "l_eye", right: str = "r_eye") -> Path:
    """An archive of empty images; `left` is the name that the annotation gives to the eye on the image's left."""
    write_mapping(raw / MAPPINGS[0], {number: ORIGINS[number] for number in numbers})
    write_attributes(raw / ATTRIBUTES, [attribute_line(f"{n}.jpg", ["Smiling"] if n % 2 else []) for n in numbers])
    for number in numbers:
        touch(raw / "CelebA-HQ-img" / f"{number}.jpg")
        draw(raw / MASKS, number, "skin", (5, 5, 60, 60))
        draw(raw / MASKS, number, left, IMAGE_LEFT)
        draw(raw / MASKS, number, right, IMAGE_RIGHT)
    return raw


def class_at(mask: np.ndarray, box: tuple[int, int, int, int]) -> str:
    (value,) = np.unique(mask[box[1] : box[3], box[0] : box[2]])
    return SEGMENTATION_CLASSES[value]


def row_of(raw: Path, number: int) -> dict[str, Any]:
    table = celebamask_hq.index(raw, ANNOTATION, 0).table
    (row,) = table[table["id"] == str(number)].to_dict("records")
    return row


def test_rows_have_attributes_and_the_split_of_the_official_script(tmp_path: Path) -> None:
    raw = archive(tmp_path)
    celebamask_hq.check(raw, ANNOTATION, None)
    listing = celebamask_hq.index(raw, ANNOTATION, 0)
    table = listing.table.set_index("id")
    assert not listing.quarantine and (table[SIDE] == "image").all()
    assert table["split"].to_dict() == {
        "0": "train", "1": "train", "2": "val", "3": "val", "4": "train", "5": "train", "1999": "test", "2000": "test"
    }  # fmt: skip
    assert table.loc["1", "expression"] == "smiling" and table.loc["1", "attribute_Smiling"] == 1
    assert table.loc["2000", "source"] == "CelebA-HQ-img/2000.jpg"
    assert "complete set has train 24,183, val 2,993, test 2,824" in listing.notes[0]
    assert "in 8 of 8 annotated faces" in listing.notes[1]
    with pytest.raises(UserError, match="a split is empty"):
        celebamask_hq.index(raw, {"split": "secgan"}, 0)  # all are below 28,000


def test_masks_are_merged_in_the_official_order(tmp_path: Path) -> None:
    assert tuple(MERGING_ORDER) == tuple(SEGMENTATION_CLASSES[1:])
    raw = archive(tmp_path)
    draw(raw / MASKS, 2000, "hair", (0, 0, 64, 12), mode="RGB")
    draw(raw / MASKS, 2000, "cloth", (0, 8, 64, 12), mode="P")
    draw(raw / MASKS, 2000, "eye_g", (8, 18, 30, 28), mode="1")
    assert [file.stem[6:] for file in celebamask_hq.mask_files(raw, row_of(raw, 2000))] == [
        "skin", "eye_g", "l_eye", "r_eye", "hair", "cloth"
    ]  # fmt: skip
    mask = celebamask_hq.mask(raw, row_of(raw, 2000))
    assert mask.shape == (64, 64) and mask.dtype == np.uint8
    assert class_at(mask, (0, 0, 64, 8)) == "hair"  # over skin
    assert class_at(mask, (0, 8, 64, 12)) == "cloth"  # over hair
    assert class_at(mask, (8, 18, 30, 20)) == "eye_g"
    assert class_at(mask, IMAGE_LEFT) == "l_eye"  # over glasses
    assert class_at(mask, (0, 61, 64, 64)) == "background"
    assert not (mask == SEGMENTATION_CLASSES.index("nose")).any()  # no file: absent


def test_left_is_the_images_left_whatever_the_annotation_calls_so(tmp_path: Path) -> None:
    for folder, left, right in (("image", "l_eye", "r_eye"), ("person", "r_eye", "l_eye")):
        raw = archive(tmp_path / folder, left=left, right=right)
        draw(raw / MASKS, 0, left.replace("eye", "brow"), (10, 14, 20, 17))
        draw(raw / MASKS, 0, left.replace("eye", "ear"), (2, 20, 4, 30))
        draw(raw / MASKS, 0, "ear_r", (2, 31, 4, 33))
        row = row_of(raw, 0)
        assert row[SIDE] == folder
        mask = celebamask_hq.mask(raw, row)
        assert (class_at(mask, IMAGE_LEFT), class_at(mask, IMAGE_RIGHT)) == ("l_eye", "r_eye")
        assert class_at(mask, (10, 14, 20, 17)) == "l_brow" and class_at(mask, (2, 20, 4, 30)) == "l_ear"
        assert class_at(mask, (2, 31, 4, 33)) == "ear_r"  # an earring has no side


def test_an_annotation_without_one_idea_of_left_is_refused(tmp_path: Path) -> None:
    raw = archive(tmp_path)
    for number in (0, 1):
        draw(raw / MASKS, number, "r_eye", IMAGE_LEFT)
        draw(raw / MASKS, number, "l_eye", IMAGE_RIGHT)
    with pytest.raises(UserError, match=r"6 of 8 annotated faces .* does not settle"):
        celebamask_hq.index(raw, ANNOTATION, 0)
    for file in raw.glob(f"{MASKS}/*/*_r_eye.png"):
        file.unlink()
    with pytest.raises(UserError, match="no face has readable masks of l_eye and r_eye"):
        celebamask_hq.index(raw, ANNOTATION, 0)
    assert SIDE not in celebamask_hq.index(raw, {}, 0).table  # masks from the mesh need no annotation


def test_unusable_masks_say_why(tmp_path: Path) -> None:
    raw = archive(tmp_path)
    rows = {number: row_of(raw, number) for number in ORIGINS}
    draw(raw / MASKS, 0, "hair", (0, 0, 5, 5), side=32)
    draw(raw / MASKS, 1, "hair", (0, 0, 5, 5)).write_bytes(b"")
    hair = draw(raw / MASKS, 2, "hair", (0, 0, 5, 5))
    hair.write_bytes(hair.read_bytes()[:40])
    draw(raw / MASKS, 3, "r_eye", IMAGE_LEFT)
    draw(raw / MASKS, 3, "l_eye", IMAGE_RIGHT)
    for file in raw.glob(f"{MASKS}/0/01999_*.png"):
        file.unlink()
    for number, told in (
        (0, "00000_hair.png is 32 x 32 px, another mask of this face 64 x 64"),
        (1, "00001_hair.png cannot be read"),
        (2, "00002_hair.png cannot be read"),
        (3, "the other way round"),
        (1999, "not annotated"),
    ):
        with pytest.raises(UnusableError, match=told):
            celebamask_hq.mask(raw, rows[number])
    celebamask_hq.mask(raw, rows[2000])


def test_images_without_annotation_split_or_attributes_are_left_out_and_strange_files_told(tmp_path: Path) -> None:
    raw = archive(tmp_path)
    for file in raw.glob(f"{MASKS}/0/00001_*.png"):
        file.unlink()
    (raw / MASKS / "0" / "00001_teeth.png").touch()
    (raw / MASKS / "1" / "00001_skin.png").touch()  # belongs into 0
    mapping = (raw / MAPPINGS[0]).read_text().splitlines()
    (raw / MAPPINGS[0]).write_text("\n".join(line for line in mapping if not line.startswith("3\t")))
    touch(raw / "CelebA-HQ-img" / "29999.jpg")
    listing = celebamask_hq.index(raw, ANNOTATION, 0)
    found = {Path(path).stem: reason for path, (_, reason) in reasons(listing).items()}
    assert found == {
        "1": f"not annotated: no {MASKS}/0/00001_*.png",
        "3": f"not in {MAPPINGS[0]}, so its split is not known",
        "29999": "not in the list of attributes",
    }
    assert any("2 files" in note and "the first is 0/00001_teeth.png" in note for note in listing.notes)
    assert "1" in set(celebamask_hq.index(raw, {}, 0).table["id"])


def test_the_archives_own_folder_may_stay(tmp_path: Path) -> None:
    archive(tmp_path / "CelebAMask-HQ")
    celebamask_hq.check(tmp_path, ANNOTATION, None)
    row = row_of(tmp_path, 0)
    assert row["source"] == "CelebAMask-HQ/CelebA-HQ-img/0.jpg"
    assert class_at(celebamask_hq.mask(tmp_path, row), IMAGE_LEFT) == "l_eye"


def test_the_masks_are_missing_only_where_they_are_wanted(tmp_path: Path) -> None:
    raw = archive(tmp_path)
    (raw / MASKS).rename(raw / "elsewhere")
    celebamask_hq.check(raw, {}, None)
    with pytest.raises(UserError, match=f"{MASKS} is missing"):
        celebamask_hq.check(raw, ANNOTATION, None)


# --- prepared ------------------------------------------------------------------------------------------------

GREEN = (100, 30, 116, 42)
"""A rectangle of the photograph's left upper background, within the crop: (left, top, right, bottom) of 256 px."""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs of 512 px with masks of 256 px: a green rectangle is annotated as hat, exactly."""
    from skimage.data import astronaut

    raw = archive(tmp_path_factory.mktemp("celebamask"))
    for number in ORIGINS:
        image = np.roll(astronaut(), 6 * (number % 5), axis=1).copy()
        left, top, right, bottom = (2 * value for value in GREEN)
        image[top:bottom, left:right] = (0, 255, 0)
        Image.fromarray(image).save(raw / "CelebA-HQ-img" / f"{number}.jpg", quality=98, subsampling=0)
        for file in raw.glob(f"{MASKS}/*/{number:05d}_*.png"):
            file.unlink()
        draw(raw / MASKS, number, "skin", (90, 20, 140, 100), side=256)
        draw(raw / MASKS, number, "hat", GREEN, side=256)
        draw(raw / MASKS, number, "l_eye", (100, 50, 106, 54), side=256)
        draw(raw / MASKS, number, "r_eye", (122, 50, 128, 54), side=256)
    return raw


def prepared(raw: Path, root: Path, workers: int = 1, **options: Any) -> FaceStore:
    pytest.importorskip("mediapipe")
    settings = {"classes": ["not_smiling", "smiling"], "sizes": [128, 64], **ANNOTATION, **options}
    prepare(
        "celebamask_hq", settings, raw, root / "store",
        seed=0, workers=workers, mirror=None, work=root / "work", progress=False,
    )  # fmt: skip
    return FaceStore(root / "store", 128)


def test_a_prepared_mask_lies_where_the_alignment_puts_it(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = prepared(photographs, tmp_path)
    assert len(store) == len(ORIGINS) and store.depth is not None
    transforms = np.load(tmp_path / "store" / "transforms.npy")
    for size in (128, 64):
        masks, images = FaceStore(store.directory, size).masks, FaceStore(store.directory, size).images
        assert masks is not None and masks.dtype == np.uint8
        for row in range(len(store)):
            hat = masks[row] == SEGMENTATION_CLASSES.index("hat")
            red, green, blue = np.moveaxis(np.asarray(images[row]).astype(int), -1, 0)
            painted = (green > 128) & (red < 128) & (blue < 128)
            assert (hat & painted).sum() / (hat | painted).sum() > (0.85 if size == 128 else 0.75)
            rows, columns = np.nonzero(hat)
            centre = np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / size
            corners = 2.0 * np.array([GREEN[:2], GREEN[2:]])
            assert np.abs(centre - apply(transforms[row], corners.mean(axis=0))).max() < 0.6 / size
            assert set(np.unique(masks[row])) <= {0, 1, 4, 5, SEGMENTATION_CLASSES.index("hat"), IGNORED}
    manifest = read_json(tmp_path / "store" / "manifest.json")
    assert manifest["masks"] == "annotation" and len(manifest["notes"]) == 2
    assert f"celebamask_hq: {manifest['notes'][1]}" in capsys.readouterr().err
    assert int(store.table.set_index("id").loc["1", "attribute_Smiling"]) == 1


def test_workers_masks_of_the_mesh_and_masks_alone(photographs: Path, tmp_path: Path) -> None:
    own = prepared(photographs, tmp_path / "own")
    alone = prepared(photographs, tmp_path / "alone", annotations=["masks"], workers=2)
    assert alone.depth is None and np.array_equal(alone.masks, own.masks)  # type: ignore[arg-type]
    mesh = prepared(photographs, tmp_path / "mesh", masks="mesh")
    assert read_json(tmp_path / "mesh" / "store" / "manifest.json")["masks"] == "mesh"
    assert not (np.asarray(mesh.masks) == SEGMENTATION_CLASSES.index("hat")).any()
    assert np.array_equal(mesh.images, own.images)


def test_damaged_masks_and_images_are_in_the_quarantine_once(photographs: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(photographs, raw)
    (raw / "CelebA-HQ-img" / "0.jpg").write_bytes(b"")
    (raw / MASKS / "0" / "00003_hat.png").write_bytes(b"")
    for file in raw.glob(f"{MASKS}/0/01999_*.png"):
        file.unlink()
    store = prepared(raw, tmp_path, annotations=["masks"])
    with (store.directory / "quarantine.csv").open() as opened:
        rows = {Path(row["path"]).stem: (row["stage"], row["reason"]) for row in csv.DictReader(opened)}
    assert rows == {
        "0": ("read", "the file is empty"),
        "3": ("masks", "00003_hat.png cannot be read: the file is empty"),
        "1999": ("listing", f"not annotated: no {MASKS}/0/01999_*.png"),
    }
    assert set(store.table["id"]) == {"1", "2", "4", "5", "2000"}


def test_a_changed_annotation_is_not_taken_from_an_older_shard(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(photographs, raw)
    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array_header_1_0", stop)
        with pytest.raises(KeyboardInterrupt):
            prepared(raw, tmp_path, annotations=["masks"])
    assert list((tmp_path / "work" / "shards").glob("*.npz"))
    draw(raw / MASKS, 0, "cloth", (0, 0, 256, 256), side=256)
    store = prepared(raw, tmp_path, annotations=["masks"])
    first = store.masks[store.table["id"].tolist().index("0")]  # type: ignore[index]
    assert set(np.unique(first)) <= {SEGMENTATION_CLASSES.index("cloth"), IGNORED}
    assert shards.stamp(tmp_path / "nothing") is None


def stop(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_a_dataset_without_masks_cannot_be_asked_for_them(tmp_path: Path) -> None:
    for value, told in (
        ("annotation", "has no masks of its own"),
        ("drawn", "expected one of mesh, annotation, segmenter"),
    ):
        with pytest.raises(UserError, match=rf"datasets\.folder\.masks: .*{told}"):
            prepare(
                "folder", {"sizes": [64], "masks": value}, tmp_path, tmp_path / "store",
                seed=0, workers=1, mirror=None, work=tmp_path / "work", progress=False,
            )  # fmt: skip


def test_masks_one_folder_deeper_are_named(tmp_path: Path) -> None:
    raw = archive(tmp_path)
    (raw / MASKS).rename(raw / "away")
    (raw / MASKS).mkdir()
    (raw / "away").rename(raw / MASKS / "anno")
    with pytest.raises(UserError, match=rf"expected at {raw / MASKS}/0/00000_l_eye\.png; .* match is anno/0/00000"):
        celebamask_hq.index(raw, ANNOTATION, 0)
    assert len(celebamask_hq.index(raw, {}, 0).table) == len(ORIGINS)  # masks of the mesh need none
