"""What is kept of guides: trained, stored beside the generator, read again, and drawn for the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimik.components.adversary import AdversaryConfig
from mimik.components.conditions import Condition, ConditionConfig
from mimik.components.context import Context
from mimik.errors import UserError
from mimik.evaluation.translation import TranslationSettings, translate
from mimik.faces.masks import colour
from mimik.faces.prepared.store import FaceStore
from mimik.guidance import semantic
from mimik.labels import SECGAN_CLASSES, SECGAN_OF_SEGMENTATION, SEGMENTATION_CLASSES
from mimik.storage.weights import read_safetensors, save_safetensors
from mimik.training.batches import to_tensor, to_uint8
from mimik.training.guided import Drawing, guides_state, load_guide_state
from mimik.training.runs import GUIDES, load_guides, load_method, train_method
from tests.guests.guide import Config as GuestConfig
from tests.guests.guide import Guide as Guest
from tests.methods.world import Parser, make_batch, make_context
from tests.tiny import make_store
from tests.tracking.conftest import SETTINGS

NETS: dict[str, Any] = {"conv_dim": 4, "residual_blocks": 1}
CRITIC = {"conv_dim": 4, "layers": 2}
DEPTH = {"start": "scratch", "adversary": CRITIC, **NETS}


def with_maps(directory: Path) -> FaceStore:
    store = make_store(directory)
    random = np.random.default_rng(0)
    np.save(directory / "depth_16.npy", random.integers(1, 256, (len(store), 16, 16), np.uint8))
    np.save(directory / "normals_16.npy", random.integers(1, 256, (len(store), 16, 16, 3), np.uint8))
    return FaceStore(directory, 16)


def trained(tmp_path: Path, guidance: dict[str, Any]) -> tuple[FaceStore, Path]:
    store, result = with_maps(tmp_path / "store"), tmp_path / "result"
    train_method({**SETTINGS, "guidance": guidance}, store.directory, {}, result, tmp_path / "checkpoints")
    return store, result


def translated(store: FaceStore, result: Path) -> tuple[np.ndarray, dict[str, Any]]:
    folder = result / "translations"
    translate(result, store.directory, None, folder, TranslationSettings(precision="fp32"))
    manifest = json.loads((folder / "manifest.json").read_text())
    return np.load(folder / "guided_maps.npy"), manifest["guided_maps"]


@pytest.mark.parametrize("geometry", ["depth", "normals"])
def test_maps_of_the_edits_are_those_of_the_trained_network(tmp_path: Path, geometry: str) -> None:
    store, result = trained(tmp_path, {"depth": {**DEPTH, "geometry": geometry}})
    maps, told = translated(store, result)
    names = [f"true {geometry}", f"{geometry} of input", f"{geometry} of edit"]
    assert [panel["name"] for panel in told["panels"]] == names
    assert [panel["of"] for panel in told["panels"]] == ["input", "input", "edit"]
    assert maps.shape == (3, 8, 16, 16, 3) and maps.dtype == np.uint8
    guide = load_guides(result)["depth"]
    rows, strengths = told["rows"], np.load(result / "translations" / "strengths.npy")
    truth = store.depth[rows][..., None].repeat(3, -1) if geometry == "depth" else store.normals[rows]
    assert (maps[0] == truth).all()
    level = TranslationSettings().strengths.index(1.0)
    with torch.no_grad():
        for panel, faces in ((1, store.images[rows]), (2, strengths[0, :, level])):
            made = guide.kept["network"].to_maps(to_tensor(faces))  # type: ignore[operator]
            assert np.abs(maps[panel].astype(int) - to_uint8(made)).max() <= 1
    assert (maps[1] != maps[2]).any()
    assert (maps[1:] == maps[1:, ..., :1]).all() is np.bool_(geometry == "depth")


def test_faces_without_any_true_map_have_no_panel_for_it(tmp_path: Path) -> None:
    store, result = trained(tmp_path, {"depth": DEPTH})
    depth = np.load(store.directory / "depth_16.npy")
    depth[store.rows("test")] = 0
    np.save(store.directory / "depth_16.npy", depth)
    assert [panel["name"] for panel in translated(store, result)[1]["panels"]] == ["depth of input", "depth of edit"]


def test_without_guidance_the_file_is_empty_and_no_map_is_drawn(tmp_path: Path) -> None:
    store, result = trained(tmp_path, {})
    assert read_safetensors(result / GUIDES, "") == {} and load_guides(result) == {}
    maps, told = translated(store, result)
    assert maps.shape == (0, 8, 16, 16, 3) and told["panels"] == []


def test_a_result_of_an_earlier_version_is_read_without_its_guides(tmp_path: Path) -> None:
    store, result = trained(tmp_path, {"depth": DEPTH})
    (result / GUIDES).unlink()
    assert load_guides(result) == {}
    load_method(result)
    assert translated(store, result)[0].shape[0] == 0


def test_a_file_that_does_not_belong_to_its_config_is_refused(tmp_path: Path) -> None:
    _, result = trained(tmp_path, {"depth": DEPTH})
    state = read_safetensors(result / GUIDES, "")
    save_safetensors(result / GUIDES, {**state, "other/network.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=r"guides\.safetensors: holds networks of the guide 'other', which .*config"):
        load_guides(result)
    save_safetensors(result / GUIDES, dict(list(state.items())[1:]))
    with pytest.raises(UserError, match=r"guides\.safetensors: the weights do not fit"):
        load_guides(result)
    (result / GUIDES).write_bytes(b"torn")
    with pytest.raises(UserError, match=r"guides\.safetensors: expected weights"):
        load_guides(result)


def make_branch(seed: int) -> semantic.Guide:
    torch.manual_seed(seed)
    critic = AdversaryConfig(conv_dim=4, layers=3)
    branch = semantic.StarGANBranch(**NETS, adversary=critic)
    return semantic.Guide(semantic.Config(stargan=branch), make_context(form="relative")).eval()


def test_the_semantic_branch_draws_masks_before_and_after() -> None:
    guide, batch = make_branch(0), make_batch()
    source, target = guide.condition.source(batch), guide.condition.target(batch)
    edits = batch["image"].flip(0)
    with torch.no_grad():
        before, after = guide.draw(batch["image"], edits, source, target)
        masks = guide.parser.masks(batch["image"])
        expected = [masks, guide.generator(masks, target - source), guide.parser.masks(edits)]
    assert [*before, *after] == ["mask of input", "mask by G_seg", "mask of edit"] and len(before) == 1
    first = [SECGAN_OF_SEGMENTATION.index(index) for index in range(len(SECGAN_CLASSES))]
    for drawn, scores in zip([*before.values(), *after.values()], expected, strict=True):
        assert (drawn == colour(np.array(first)[scores.argmax(1).numpy()])).all()
    stored = np.array([[[SEGMENTATION_CLASSES.index(name) for name in ("l_brow", "r_brow", "nose")]]], np.uint8)
    left, right, nose = guide.draw_truth(stored)[0, 0].tolist()
    assert left == right != nose and guide.shows == "masks"


def test_only_what_draws_is_kept_and_comes_back() -> None:
    """G_seg and P of one guide; nothing of a guide that draws nothing, nor of any critic."""
    first, second, batch = make_branch(0), make_branch(1), make_batch()
    context = Context(Condition(ConditionConfig(), ("a", "b")), 16, {"segmenter": Parser()})
    guest = Guest(GuestConfig(), context)
    assert isinstance(first, Drawing) and not isinstance(guest, Drawing)
    state = guides_state({"semantic": first, "guests.guide": guest})
    assert {name.split(".")[0] for name in state} == {"semantic/generator", "semantic/parser"}
    load_guide_state(second, "semantic", state)
    source, target = first.condition.source(batch), first.condition.target(batch)
    with torch.no_grad():
        drawn = [guide.draw(batch["image"], batch["image"], source, target)[1] for guide in (first, second)]
    assert all((drawn[0][name] == drawn[1][name]).all() for name in drawn[0])
