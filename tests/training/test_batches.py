from pathlib import Path

import numpy as np
import pytest
import torch

from mimik.errors import UserError
from mimik.labels import IGNORED, SEGMENTATION_CLASSES
from mimik.training.batches import Batches, mirrored_masks, to_tensor, to_uint8
from tests.tiny import make_store


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


def test_a_position_depends_on_nothing_that_was_read_before(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    first = Batches(store, store.rows("train"), 6, seed=3, reads={"mask", "action_units"})
    for position in (9, 2, 14):
        first.at(position)
    second = Batches(store, store.rows("train"), 6, seed=3, reads={"mask", "action_units"})
    for name, value in first.at(7).items():
        assert torch.equal(value, second.at(7)[name]), name
    other = Batches(store, store.rows("train"), 6, seed=4).at(7)
    assert not torch.equal(other["row"], second.at(7)["row"])


def test_targets_are_a_permutation_of_the_labels(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    batch = Batches(store, store.rows("train"), 16, seed=0, reads={"label", "target"}).at(0)
    assert sorted(batch["target"].tolist()) == sorted(batch["label"].tolist())
    assert batch["target"].tolist() != batch["label"].tolist()


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
