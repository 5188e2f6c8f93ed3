"""AffectNet-D and RaFD-D: photographs and their maps, found by name; maps that cannot be meant."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mimik.datasets import affectnet, rafd, released_depth
from mimik.datasets.listing import SPLITS, UnusableError, incomplete
from mimik.errors import UserError
from mimik.labels import EXPRESSIONS
from tests.datasets.test_affectnet import NpyRelease
from tests.datasets.test_rafd import ADULTS, release

GREY = np.tile(np.arange(0, 250, 10, dtype=np.uint8), (20, 1))
OPTIONS = {"held_out": 0.2, "reconstruction": "released"}
RAFD = {"angles": [45, 90, 135], "test_identities": 1, "val_identities": 1, "reconstruction": "released"}


def maps(raw: Path, *stems: str, folder: str = "set_1/maps") -> Path:
    for stem in stems:
        path = raw / "depth" / folder / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GREY).save(path)
    return raw


@pytest.fixture
def affectnet_archive(tmp_path: Path) -> Path:
    """Eight classes of 20 training images and 3 others of the same names; the first 10 of a class have maps."""
    raw = NpyRelease(tmp_path / "affectnet").raw
    return maps(raw, *(str(1000 * code + 3 * number) for code in range(8) for number in range(10)))


def test_training_images_with_a_map_and_test_images_are_listed(affectnet_archive: Path) -> None:
    listing = affectnet.index(affectnet_archive, OPTIONS, 0)
    table = listing.table
    trained = table[table["split"] != "test"]
    assert len(trained) == 80 and set(trained["split"]) == {"train", "val"}
    for row in trained.to_dict("records"):
        assert Path(row["source"]).stem == Path(row["depth_map"]).stem
        assert (affectnet_archive / row["source"]).exists() and (affectnet_archive / row["depth_map"]).exists()
    # The maps' names are also those of images of the validation set, which are others.
    tested = table[table["split"] == "test"]
    assert len(tested) == 24 and set(tested["depth_map"]) == {""}
    left_out = [entry for entry in listing.quarantine if entry[2] == "no depth map was released for it"]
    assert len(left_out) == 80 and {stage for _, stage, _ in left_out} == {"selection"}
    assert all((affectnet_archive / path).exists() for path, _, _ in listing.quarantine)
    assert "80 of 87,106 depth maps" in " ".join(incomplete(listing))
    assert "happiness 10 of 15,000" in listing.notes[0] and "non-commercial" in listing.notes[-1]


def test_the_cap_counts_images_with_a_map(affectnet_archive: Path) -> None:
    capped = affectnet.index(affectnet_archive, OPTIONS | {"per_class": 6}, 0)
    counts = capped.table.groupby(["expression", capped.table["split"] == "test"]).size().unstack()
    assert counts[False].tolist() == [6] * 8 and counts[True].tolist() == [3] * 8
    above = [path for path, _, reason in capped.quarantine if "beyond the 6 images" in reason]
    assert len(above) == 32
    assert affectnet.index(affectnet_archive, OPTIONS | {"per_class": 6}, 0).table.equals(capped.table)
    assert not affectnet.index(affectnet_archive, OPTIONS | {"per_class": 6}, 1).table.equals(capped.table)
    everything = affectnet.index(affectnet_archive, {"held_out": 0.2}, 0)
    assert len(everything.table) == 184 and "depth_map" not in everything.table


def test_strange_and_doubled_and_missing_maps_are_told(affectnet_archive: Path) -> None:
    maps(affectnet_archive, "stranger")
    listing = affectnet.index(affectnet_archive, OPTIONS, 0)
    assert "1 depth maps belong to no photograph: depth/set_1/maps/stranger.png." in listing.notes
    maps(affectnet_archive, "0", folder="set_2")
    with pytest.raises(UserError, match=r"set_1/maps/0\.png and depth/set_2/0\.png are maps of the same photograph"):
        affectnet.check(affectnet_archive, OPTIONS, None)


def test_an_archive_without_maps_or_with_others_is_refused(tmp_path: Path) -> None:
    release(tmp_path)
    rafd.check(tmp_path, {}, None)
    with pytest.raises(UserError, match=r"depth: no depth map .*affectnet-d_rafd-d"):
        rafd.check(tmp_path, RAFD, None)
    maps(tmp_path, "image_1", "image_2")
    with pytest.raises(UserError, match=r"none of the 2 depth maps is named like any of the .* photographs"):
        rafd.index(tmp_path, RAFD, 0)
    NpyRelease(tmp_path / "affectnet")
    with pytest.raises(UserError, match="no depth map"):
        affectnet.check(tmp_path / "affectnet", OPTIONS, None)
    maps(tmp_path / "affectnet", "image_1")
    with pytest.raises(UserError, match="none of the 1 depth maps"):
        affectnet.index(tmp_path / "affectnet", OPTIONS, 0)


def test_photographs_of_rafd_are_matched_whatever_the_maps_ending(tmp_path: Path) -> None:
    release(tmp_path)
    chosen = [f"Rafd045_{person}_{word}_frontal" for person in ADULTS for word in ("happy", "sad")]
    two = RAFD | {"classes": ["happiness", "sadness"]}
    with pytest.raises(UserError, match="no images of the class 'anger' are left in the split train"):
        maps(tmp_path, *chosen)
        rafd.index(tmp_path, RAFD, 0)
    (tmp_path / "depth" / "set_1" / "maps" / f"{chosen[0]}.png").rename(tmp_path / "depth" / f"{chosen[0]}.BMP")
    table = rafd.index(tmp_path, two, 0).table
    mapped = table[table["depth_map"] != ""]
    assert sorted(mapped["id"]) == sorted(chosen)
    assert set(mapped["split"]) == set(SPLITS)
    assert set(table["split"][table["depth_map"] == ""]) == {"test"}
    assert table["depth_map"][table["id"] == chosen[0]].item() == f"depth/{chosen[0]}.BMP"
    without = rafd.index(tmp_path, RAFD | {"reconstruction": "mesh"}, 0)  # the maps are no photographs of the same name
    assert len(without.table) == 5 * 3 * 24 and not [path for path, _, _ in without.quarantine if "depth/" in path]


def test_published_numbers_are_those_of_the_page() -> None:
    assert sum(released_depth.AFFECTNET_D.values()) == 87_106 and sum(released_depth.RAFD_D.values()) == 4_494
    assert tuple(released_depth.AFFECTNET_D) == tuple(released_depth.RAFD_D) == tuple(EXPRESSIONS)


@pytest.mark.parametrize("kind", ["L", "RGB", "I;16", "jpg"])
def test_maps_of_any_grey_kind_are_read(tmp_path: Path, kind: str) -> None:
    name = "map.jpg" if kind == "jpg" else "map.png"
    wide = GREY.astype(np.uint16) * 257
    Image.fromarray(wide if kind == "I;16" else np.repeat(GREY[..., None], 3, 2) if kind != "L" else GREY).save(
        tmp_path / name
    )
    read = released_depth.depth(tmp_path, {"depth_map": name})
    assert read is not None and read.dtype == np.uint8
    assert np.abs(read.astype(int) - GREY).max() <= (12 if kind == "jpg" else 0)
    assert released_depth.depth_files(tmp_path, {"depth_map": name}) == [tmp_path / name]
    assert released_depth.depth(tmp_path, {"depth_map": ""}) is None
    assert released_depth.depth_files(tmp_path, {"depth_map": ""}) == []


def test_unusable_maps_say_why(tmp_path: Path) -> None:
    picture: dict[str, Any] = {"flat": np.zeros((9, 9), np.uint8), "colour": np.zeros((9, 9, 3), np.uint8)}
    picture["colour"][3:, :, 0] = 200
    for name, values in picture.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "flat.png").read_bytes()[:40])
    for name, told in (("flat", "shows nothing"), ("colour", "in colour"), ("torn", "cannot be read")):
        with pytest.raises(UnusableError, match=told):
            released_depth.depth(tmp_path, {"depth_map": f"{name}.png"})
