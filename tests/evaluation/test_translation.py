import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from mimik.components.conditions import Condition, ConditionConfig
from mimik.errors import UserError
from mimik.evaluation import translation
from mimik.evaluation.translation import TranslationSettings, evenly, translate
from mimik.storage.files import file_sha256
from mimik.training.batches import to_tensor
from tests.tiny import make_store

CLASSES = ["anger", "fear", "happiness"]


class Shift(nn.Module):
    """Adds ten levels times the target and one level times the source; counts what it is given."""

    def __init__(self, level: float = 10.0) -> None:
        super().__init__()
        self.condition = Condition(ConditionConfig(), CLASSES)
        self.level = level
        self.batches: list[int] = []

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        assert source.shape == target.shape == (len(images), 3)
        self.batches.append(len(images))
        change = self.level * target.argmax(1) + source.argmax(1)
        return images + change[:, None, None, None] / 127.5


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A prepared dataset (train and test mixed, one face without label) and a result folder."""
    store, result = tmp_path / "store", tmp_path / "result"
    store.mkdir()
    result.mkdir()
    splits = ["train", "test", "test", "train", "test", "test", "test"]
    expressions = ["fear", "fear", "anger", "anger", "happiness", "", "fear"]
    table = pd.DataFrame(
        {
            "id": [f"face{index}" for index in range(7)],
            "split": splits,
            "source": "",
            "expression": expressions,
            "identity": "1",
        }
    )
    table.to_csv(store / "index.csv", index=False)
    (store / "manifest.json").write_text(json.dumps({"sizes": [8], "classes": CLASSES, "digest": "abc"}))
    levels = np.arange(7, dtype=np.uint8) * 20
    np.save(store / "images_8.npy", np.broadcast_to(levels[:, None, None, None], (7, 8, 8, 3)))
    (result / "generator.safetensors").write_bytes(b"weights")
    return store, result, tmp_path / "translations"


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> Shift:
    shift = Shift()
    config: dict[str, Any] = {"image_size": 8, "classes": CLASSES}
    monkeypatch.setattr(translation, "load_method", lambda _: (shift, config))
    return shift


def run(folders: tuple[Path, Path, Path], **settings: Any) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    store, result, output = folders
    translate(result, store, None, output, TranslationSettings(**{"precision": "fp32", **settings}))
    manifest = json.loads((output / "manifest.json").read_text())
    return np.load(output / "images.npy"), np.load(output / "cycle.npy"), manifest


def test_every_test_face_is_asked_for_every_class_and_sent_back(folders, method) -> None:
    images, cycle, manifest = run(folders)
    assert manifest["rows"] == [1, 2, 4, 6]
    assert manifest["ids"] == ["face1", "face2", "face4", "face6"]
    assert manifest["source_labels"] == [1, 0, 2, 1]
    assert images.shape == cycle.shape == (4, 3, 8, 8, 3)
    assert images.dtype == np.uint8
    for row, (store_row, source) in enumerate(zip(manifest["rows"], manifest["source_labels"], strict=True)):
        for target in range(3):
            shown = 20 * store_row + 10 * target + source
            assert (images[row, target] == shown).all()
            assert (cycle[row, target] == shown + 10 * source + target).all()


def test_manifest_names_what_it_was_made_from(folders, method) -> None:
    _, _, manifest = run(folders)
    assert manifest["classes"] == CLASSES
    assert manifest["size"] == 8
    assert manifest["generator_sha256"] == file_sha256(folders[1] / "generator.safetensors")
    assert manifest["store_digest"] == "abc"
    assert manifest["precision"] == "fp32"
    assert manifest["unlabelled"] == 1


def test_the_batch_size_changes_nothing_but_the_batches(folders, method) -> None:
    first = run(folders)
    continuous = np.load(folders[2] / "strengths.npy")
    assert method.batches == [12, 12, 48]
    method.batches.clear()
    second = run(folders, batch_size=5)
    assert method.batches == [5, 5, 5, 5, 2, 2, *[5] * 9, 3]
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
    assert (continuous == np.load(folders[2] / "strengths.npy")).all()


def test_a_few_faces_are_edited_by_strength(folders, method) -> None:
    _, _, manifest = run(folders, strengths=(0.0, 1.0))
    told = manifest["strengths"]
    assert told["levels"] == [0, 1] and told["targets"] == [0, 1, 2, 0, 1, 2, 0, 1]
    images = np.load(folders[2] / "strengths.npy")
    assert images.shape == (1, 8, 2, 8, 8, 3) and images.dtype == np.uint8
    own = dict(zip(manifest["rows"], manifest["source_labels"], strict=True))
    for pair, (row, target) in enumerate(zip(told["rows"], told["targets"], strict=True)):
        # The whole edit is what is in images.npy, strength 0 what the face is asked for as its own.
        for level, asked in enumerate((own[row], target)):
            assert (images[0, pair, level] == 20 * row + 10 * asked + own[row]).all()
    for name in ("action_units", "unit_changes", "exemplars"):
        assert manifest[name]["rows"] == [] and np.load(folders[2] / f"{name}.npy").shape[1] == 0


def test_the_way_back_starts_from_the_stored_picture(folders, method) -> None:
    method.level = 0.4  # below half a level: nothing of it may reach the cycle
    images, cycle, manifest = run(folders)
    expected = 20 * np.array(manifest["rows"]) + np.array(manifest["source_labels"])
    assert (images[:, 1].max((1, 2, 3)) == expected).all()
    # Back from target 1: 0.4 times the source label, plus one for the target; unrounded it would have been 0.4 more.
    back = np.round(expected + 0.4 * np.array(manifest["source_labels"]) + 1)
    assert (cycle[:, 1].max((1, 2, 3)) == back).all()


def test_out_of_range_values_are_clamped(folders, method) -> None:
    method.level = 400.0
    images, _, _ = run(folders)
    assert (images[:, 1:] == 255).all()


def test_bf16_is_recorded(folders, method) -> None:
    assert run(folders, precision="bf16")[2]["precision"] == "bf16"


def test_a_failing_run_leaves_no_manifest_behind(folders, method, monkeypatch) -> None:
    run(folders)
    monkeypatch.setattr(method, "translate", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(folders)
    assert not (folders[2] / "manifest.json").exists()
    kept = {"action_units", "cycle", "exemplars", "guided_maps", "images", "masks", "strengths", "unit_changes"}
    assert {path.name for path in folders[2].iterdir()} == {f"{name}.npy" for name in kept}


class Brightest(nn.Module):
    """A segmenter that sees one class everywhere, a higher one the darker the face."""

    def __init__(self, plus: int) -> None:
        super().__init__()
        self.plus = plus

    def forward(self, images: Tensor) -> Tensor:
        level = ((images[:, 0] + 1) * 127.5 / 20).round().long() + self.plus
        return nn.functional.one_hot(level, 19).permute(0, 3, 1, 2).float()


def test_masks_of_the_segmenter_before_and_after(folders, method, monkeypatch) -> None:
    _, _, manifest = run(folders)
    assert manifest["mask_rows"] == []
    assert np.load(folders[2] / "masks.npy").shape == (2, 0, 8, 8)

    method.segmenter = Brightest(3)
    with pytest.raises(UserError, match="pre-trained one"):
        run(folders)
    monkeypatch.setattr(translation.segmenter, "load", lambda path: Brightest({"pretrained": 0}[str(path)]))
    translate(folders[1], folders[0], "pretrained", folders[2], TranslationSettings(precision="fp32"))
    manifest = json.loads((folders[2] / "manifest.json").read_text())
    masks = np.load(folders[2] / "masks.npy")
    assert manifest["mask_rows"] == manifest["rows"] == [1, 2, 4, 6]
    assert masks.shape == (2, 4, 8, 8) and masks.dtype == np.uint8
    for index, row in enumerate(manifest["mask_rows"]):
        assert (masks[0, index] == row).all() and (masks[1, index] == row + 3).all()


def test_masks_are_of_the_dataset_that_the_segmenter_comes_from(folders, method, monkeypatch, tmp_path) -> None:
    method.segmenter = Brightest(3)
    before = Brightest(0)
    before.input_size = 16
    monkeypatch.setattr(translation.segmenter, "load", lambda _: before)
    other = make_store(tmp_path / "other")
    settings = TranslationSettings(precision="fp32")
    translate(folders[1], folders[0], "pretrained", folders[2], settings, segmented_dir=other.directory)
    manifest = json.loads((folders[2] / "manifest.json").read_text())
    assert manifest["masked"] == {"dataset": "other", "size": 16, "digest": "tiny-0"}
    assert manifest["size"] == 8 and manifest["rows"] == [1, 2, 4, 6]
    assert manifest["mask_rows"] == other.rows("test").tolist()
    masks = np.load(folders[2] / "masks.npy")
    assert masks.shape == (2, 8, 16, 16)
    first = other.images[other.rows("test")[0]][None]
    assert (masks[0, 0] == before(to_tensor(first)).argmax(1)[0].numpy()).all()


def test_even_choice_spans_the_rows() -> None:
    assert evenly(np.arange(10, 30), 3).tolist() == [10, 20, 29]
    assert evenly(np.arange(4), 8).tolist() == [0, 1, 2, 3]
    assert evenly(np.arange(4), 0).tolist() == []


def test_generator_of_another_dataset_is_refused(folders, monkeypatch) -> None:
    config = {"image_size": 8, "classes": ["anger", "fear"]}
    monkeypatch.setattr(translation, "load_method", lambda _: (Shift(), config))
    with pytest.raises(UserError, match="trained on the classes"):
        run(folders)


def test_a_test_split_without_labels_is_refused(folders, method) -> None:
    path = folders[0] / "index.csv"
    table = pd.read_csv(path, keep_default_na=False)
    table["expression"] = ""
    table.to_csv(path, index=False)
    with pytest.raises(UserError, match="known expression"):
        run(folders)


def test_limit_takes_the_classes_in_turn(folders, method) -> None:
    _, _, manifest = run(folders, limit=3)
    assert sorted(manifest["source_labels"]) == [0, 1, 2]
    assert manifest["limit"] == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0},
        {"limit": 0},
        {"strengths": ()},
        {"strengths": (0.5, -0.5)},
        {"action_units": ("AU12", "AU03")},
        {"intensities": (0.0, 1.5)},
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        TranslationSettings(**settings)


def test_edits_that_are_not_finite_are_refused_and_leave_no_file(folders, method, monkeypatch) -> None:
    monkeypatch.setattr(Shift, "translate", lambda self, images, source, target: images * float("nan"))
    with pytest.raises(UserError, match=r"generator\.safetensors: the generator's output is not finite"):
        run(folders)
    assert list(folders[2].iterdir()) == []


@pytest.mark.parametrize("key", ["strengths", "intensities"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5])
def test_settings_that_are_no_shares_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        TranslationSettings(**{key: (0.5, value)})


def test_the_way_back_can_be_left_out(folders, method) -> None:
    whole = run(folders)
    method.batches.clear()
    images, cycle, manifest = run(folders, cycle=False)
    assert (images == whole[0]).all() and cycle.shape == (0, 3, 8, 8, 3)
    assert manifest["cycle"] is False and whole[2]["cycle"] is True
    assert method.batches == [12, 48]


def test_a_disk_without_room_is_told_before_anything_is_edited(folders, method, monkeypatch) -> None:
    # 4 faces x 3 targets x 8 x 8 x 3 bytes, there and back.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4607))
    with pytest.raises(UserError, match=r"translating 4 faces to 3 targets needs up to 0 MB there.*`cycle: false`"):
        run(folders)
    assert not method.batches
    run(folders, cycle=False)
    run(folders, limit=2)
