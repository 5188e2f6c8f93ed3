from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.labels import IGNORED, SEGMENTATION_CLASSES
from mimik.settings.params import load, resolve
from mimik.training.batches import Batches, balanced_subset, mirrored_masks, shifted, to_tensor, to_uint8
from mimik.training.runs import method_module
from mimik.training.schedule import TrainingConfig
from tests.tiny import make_store


def with_maps(store: FaceStore) -> FaceStore:
    """The store with depth, normals and landmarks by chance."""
    random, count, size = np.random.default_rng(2), len(store), store.size
    np.save(store.directory / f"depth_{size}.npy", random.integers(1, 256, (count, size, size)).astype(np.uint8))
    np.save(store.directory / f"normals_{size}.npy", random.integers(1, 256, (count, size, size, 3)).astype(np.uint8))
    np.save(store.directory / "landmarks.npy", random.random((count, 68, 2)).astype(np.float32))
    return FaceStore(store.directory, size)


def test_bytes_survive_the_round_trip() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    tensor = to_tensor(values)
    assert tensor.shape == (1, 3, 16, 16) and tensor.min() == -1 and tensor.max() == 1
    assert (to_uint8(tensor) == values).all()


def test_an_epoch_holds_every_row_once(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    rows = store.rows("train")
    batches = Batches(store, rows, 8, seed=3)
    seen = torch.cat([batches.at(position)["row"] for position in range(len(rows) // 8)])
    assert sorted(seen.tolist()) == rows.tolist()
    again = torch.cat([batches.at(position)["row"] for position in range(len(rows) // 8, 2 * len(rows) // 8)])
    assert sorted(again.tolist()) == rows.tolist() and again.tolist() != seen.tolist()


@pytest.mark.parametrize("options", [{}, {"shift": 0.25, "targets": "dataset"}])
def test_a_position_depends_on_nothing_that_was_read_before(options: dict[str, Any], tmp_path: Path) -> None:
    store = make_store(tmp_path)
    reads = {"mask", "action_units", "target_action_units"}
    first = Batches(store, store.rows("train"), 6, seed=3, reads=reads, **options)
    for position in (9, 2, 14):
        first.at(position)
    second = Batches(store, store.rows("train"), 6, seed=3, reads=reads, **options)
    for name, value in first.at(7).items():
        assert torch.equal(value, second.at(7)[name]), name
    other = Batches(store, store.rows("train"), 6, seed=4).at(7)
    assert not torch.equal(other["row"], second.at(7)["row"])


def test_targets_are_a_permutation_of_the_labels(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    batch = Batches(store, store.rows("train"), 16, seed=0, reads={"label", "target"}).at(0)
    assert sorted(batch["target"].tolist()) == sorted(batch["label"].tolist())
    assert batch["target"].tolist() != batch["label"].tolist()


def test_targets_of_the_whole_set_are_any_training_faces(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    rows, reads = store.rows("train")[:20], {"label", "target", "action_units", "target_action_units"}
    whole = Batches(store, rows, 2, seed=0, reads=reads, targets="dataset")
    made = [whole.at(position) for position in range(200)]
    units = store.action_units()
    assert units is not None
    first = {float(units[row, 0]): row for row in rows.tolist()}
    drawn = np.array([[first[value] for value in batch["target_action_units"][:, 0].tolist()] for batch in made])
    own = np.array([batch["row"].tolist() for batch in made])
    # Every training face, alike often, and no other face; a face meets its own state by chance only.
    assert set(drawn.ravel().tolist()) == set(rows.tolist())
    assert np.bincount(drawn.ravel(), minlength=20)[rows].max() < 45
    assert (drawn == own).mean() < 0.15
    labels = store.labels()
    assert all((batch["target"].numpy() == labels[of]).all() for batch, of in zip(made, drawn, strict=True))
    # Within a batch of two, every other batch asks for nothing.
    within = Batches(store, rows, 2, seed=0, reads=reads)
    same = [torch.equal(b["action_units"], b["target_action_units"]) for b in (within.at(k) for k in range(200))]
    assert 0.4 < np.mean(same) < 0.6
    # Rows and flips do not depend on where targets are from.
    assert all(torch.equal(within.at(k)["image"], made[k]["image"]) for k in range(5))


@pytest.mark.parametrize("reads", [set(), {"mask", "depth", "normals", "landmarks", "target_landmarks"}])
def test_shifted_samples_are_cuts_of_padded_ones(tmp_path: Path, reads: set[str]) -> None:
    store = with_maps(make_store(tmp_path))
    rows = store.rows("train")
    plain = Batches(store, rows, 8, seed=3, reads=reads, flip=True)
    moved = Batches(store, rows, 8, seed=3, reads=reads, flip=True, shift=1 / 8)  # 2 of 16 px
    corners = set()
    for position in range(12):
        before, after = plain.at(position), moved.at(position)
        assert torch.equal(before["row"], after["row"])
        for index in range(8):
            padded = F.pad(before["image"][index], (2, 2, 2, 2), value=-1.0)
            fits = [
                (top, left)
                for top in range(5)
                for left in range(5)
                if torch.equal(padded[:, top : top + 16, left : left + 16], after["image"][index])
            ]
            assert len(fits) == 1
            top, left = fits[0]
            corners.add(fits[0])
            if not reads:
                continue
            for name, empty in (("depth", -1.0), ("normals", -1.0)):
                other = F.pad(before[name][index], (2, 2, 2, 2), value=empty)
                assert torch.equal(other[:, top : top + 16, left : left + 16], after[name][index]), name
            mask = F.pad(before["mask"][index], (2, 2, 2, 2), value=IGNORED)
            assert torch.equal(mask[top : top + 16, left : left + 16], after["mask"][index])
            for name in ("landmarks", "target_landmarks"):
                expected = before[name][index] - torch.tensor([left - 2.0, top - 2.0])
                assert torch.allclose(expected, after[name][index], atol=1e-5), name
    assert {top for top, _ in corners} == {left for _, left in corners} == set(range(5))


@pytest.mark.parametrize(
    ("entry", "published"),
    [
        ("relative_au", ("dataset", 1 / 16)),
        ("ganimation", ("dataset", 0.0)),
        ("ef_gan", ("dataset", 0.0)),
        ("cascade_ef_gan", ("dataset", 0.0)),
        ("stargan", ("batch", 0.0)),
        ("hier_seg", ("batch", 0.0)),
    ],
)
def test_published_targets_and_shifts(entry: str, published: tuple[str, float]) -> None:
    params = load("params.yaml")
    for scale, expected in (("paper", published), ("demo", ("batch", 0.0)), ("smoke", ("batch", 0.0))):
        settings = resolve(params, "rafd90", entry, scale)
        config = TrainingConfig(**{**method_module(settings["module"]).TRAINING, **settings["training"]})
        assert (config.targets, config.shift) == expected, scale


def test_shifting_asks_the_device_for_no_value() -> None:
    """Tensors without values, as on a GPU that nobody waits for."""
    for shape in ((4, 16, 16, 3), (4, 16, 16)):
        pictures = torch.empty(shape, dtype=torch.uint8, device="meta")
        made = shifted(pictures, torch.empty(4, 2, dtype=torch.int64, device="meta"), IGNORED)
        assert made.shape == shape and made.dtype == torch.uint8


def test_processes_share_shifts_and_targets(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    rows = store.rows("train")
    common = {"seed": 1, "reads": {"label", "target", "mask"}, "shift": 0.2, "targets": "dataset"}
    whole = Batches(store, rows, 8, **common).at(5)  # type: ignore[arg-type]
    halves = [Batches(store, rows, 8, **common, rank=r, processes=2).at(5) for r in range(2)]  # type: ignore[arg-type]
    for name, value in whole.items():
        assert torch.equal(value, torch.cat([half[name] for half in halves])), name


@pytest.mark.parametrize(("size", "least"), [(8, 2), (10, 2), (3, 0)])
def test_stratified_batches_hold_every_class_alike(tmp_path: Path, size: int, least: int) -> None:
    store = make_store(tmp_path)
    batches = Batches(store, store.rows("train"), size, seed=0, reads={"label"}, stratified=True)
    counts = torch.stack([torch.bincount(batches.at(k)["label"], minlength=4) for k in range(40)])
    assert counts.min() == least and counts.max() <= least + 1
    rows = torch.cat([batches.at(position)["row"] for position in range(120)])
    assert set(rows.tolist()) == set(store.rows("train").tolist())
    assert len({tuple(batches.at(k)["label"].tolist()) for k in range(40)}) > 15, "the order is drawn as well"


def test_flipping_swaps_left_and_right_classes(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert store.masks is not None
    batch = Batches(store, store.rows("train"), 16, seed=0, reads={"mask"}).at(0)
    left, right = SEGMENTATION_CLASSES.index("l_eye"), SEGMENTATION_CLASSES.index("r_eye")
    flipped = 0
    for image, mask, row in zip(batch["image"], batch["mask"], batch["row"].tolist(), strict=True):
        original = to_tensor(store.images[[row]])[0]
        truth = torch.from_numpy(store.masks[row].astype(np.int64))
        if torch.equal(image, original):
            assert torch.equal(mask, truth)
            continue
        flipped += 1
        assert torch.equal(image, original.flip(2))
        assert torch.equal(mask == left, (truth == right).flip(1))
        assert torch.equal(mask == 0, (truth == 0).flip(1))
    assert 0 < flipped < 16
    unknown = torch.full((1, 2, 2), IGNORED, dtype=torch.uint8)
    assert (mirrored_masks(unknown, torch.tensor([True])) == IGNORED).all()


def test_processes_share_one_stream(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    rows, reads = store.rows("train"), {"label", "target"}
    whole = Batches(store, rows, 8, seed=1, reads=reads).at(5)
    halves = [Batches(store, rows, 8, seed=1, reads=reads, rank=r, processes=2).at(5) for r in range(2)]
    assert set(whole) == {"image", "row", "label", "target"}
    for name, value in whole.items():
        assert torch.equal(value, torch.cat([half[name] for half in halves])), name


def test_balanced_sampling_evens_out_the_classes(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    rows = store.rows("train")
    labels = store.labels()
    few = np.concatenate([rows[labels[rows] == 0], rows[labels[rows] == 1][:1]])
    batches = Batches(store, few, 16, seed=0, reads={"label"}, balanced=True)
    drawn = torch.cat([batches.at(position)["label"] for position in range(40)])
    assert 0.4 < (drawn == 1).float().mean() < 0.6


def test_what_the_store_lacks_is_named(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.masks = None
    with pytest.raises(UserError, match=r"masks_16\.npy"):
        Batches(store, store.rows("train"), 8, seed=0, reads={"mask"})
    with pytest.raises(UserError, match="3 processes"):
        Batches(store, store.rows("train"), 8, seed=0, processes=3)


def test_only_who_reads_labels_needs_them(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    rows = store.rows("train")
    labelled = Batches(store, rows, 8, seed=0, reads={"label", "target", "mask"}).at(3)
    store.table.loc[rows[:5], "expression"] = ""
    for wanted in ({"reads": {"label"}}, {"reads": {"target"}}, {"balanced": True}):
        with pytest.raises(UserError, match=rf"5 of {len(rows)} training faces have no expression label"):
            Batches(store, rows, 8, seed=0, **wanted)  # type: ignore[arg-type]
    batch = Batches(store, rows, 8, seed=0, reads={"mask"}).at(3)
    assert set(batch) == {"image", "row", "mask"}
    for name, value in batch.items():
        assert torch.equal(value, labelled[name]), name


def test_weights_say_how_often_a_row_is_drawn_and_leave_classes_their_share(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    rows, labels = store.rows("train"), store.labels()
    weights = np.ones(len(store))
    first = rows[labels[rows] == 0]
    weights[first] = 0.01  # a class that is doubted as a whole
    weights[first[0]] = 0.03
    weights[rows[labels[rows] == 1][0]] = 0.0
    for options in ({}, {"balanced": True}, {"stratified": True}):
        batches = Batches(store, rows, 10, seed=3, flip=False, weights=weights, **options)
        seen = np.concatenate([batches.rows_at(position) for position in range(600)])
        assert (batches.rows_at(5) == Batches(store, rows, 10, seed=3, weights=weights, **options).rows_at(5)).all()
        share = np.bincount(labels[rows]) / len(rows) if not options else 1 / len(store.classes)
        assert np.bincount(labels[seen]) / len(seen) == pytest.approx(share, abs=0.02)
        counts = np.bincount(seen, minlength=len(store))
        assert counts[first[0]] == pytest.approx(3 * counts[first[1:]].mean(), rel=0.25)
        assert counts[rows[labels[rows] == 1][0]] == 0 and counts[rows[labels[rows] == 2]].min() > 0
    weights[first] = 0
    with pytest.raises(ValueError, match="weight 0"):
        Batches(store, rows, 10, seed=3, weights=weights)


def test_balanced_subset_is_balanced_seeded_and_sorted() -> None:
    labels = np.array([0] * 50 + [1] * 50 + [2] * 2)
    rows = np.arange(102) + 7
    chosen = balanced_subset(rows, labels, 11, seed=0)
    counts = np.bincount(labels[chosen - 7])
    assert counts[2] == 2
    assert sorted(counts[:2]) == [4, 5]
    assert (np.diff(chosen) > 0).all()
    assert (chosen == balanced_subset(rows, labels, 11, seed=0)).all()
    assert (chosen != balanced_subset(rows, labels, 11, seed=1)).any()
    assert (balanced_subset(rows, labels, None, seed=0) == rows).all()
