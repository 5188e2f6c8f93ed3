"""Every row of the papers' tables starts: a training of one step on a tiny dataset of the row's form."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimik.components.adversary import Adversary
from mimik.components.conditions import Condition, ConditionConfig
from mimik.faces.prepared.store import ATTRIBUTE, FaceStore
from mimik.labels import EXPRESSIONS, SECGAN_ATTRIBUTES, SEGMENTATION_CLASSES
from mimik.networks import depth_network, segmenter
from mimik.networks.stored import save_network
from mimik.pretraining.depth_network import DepthNetworkConfig
from mimik.settings import params, published
from mimik.settings.configuration import build
from mimik.storage.files import write_json
from mimik.training.runs import train_method
from tests.tiny import make_store

pytestmark = pytest.mark.slow

SHIPPED = params.load(Path(__file__).parents[1] / "params.yaml")
PAIRS = sorted(
    {(row.dataset, row.method) for table in SHIPPED["published"] for row in published.rows(SHIPPED, table)}
    | {("rafd90_basic", "cascade_ef_gan"), ("cfee", "cascade_ef_gan"), ("rafd90_basic", "ef_gan"), ("cfee", "ef_gan")}
)
"""Of all number tables, and of Cascade EF-GAN's figures, which have no numbers."""
SIZE = 64


def training_of(dataset: str, method: str) -> str:
    """What a training of one step on faces of `SIZE` px depends on."""
    settings = params.resolve(SHIPPED, dataset, method, "smoke")
    prepared = params.resolve_dataset(SHIPPED, dataset, "smoke")["options"]
    form = [len(prepared["classes"]), prepared["annotations"], prepared.get("action_units")]
    schedule = {name: value for name, value in settings["training"].items() if name not in ("steps", "batch_size")}
    own = [settings[name] for name in ("module", "condition", "config", "guidance", "pretrained", "starts_from")]
    return json.dumps([form, params.dataset_module(SHIPPED, dataset).startswith("celeba"), schedule, own])


DIFFERENT = list({training_of(*pair): pair for pair in reversed(PAIRS)}.values())[::-1]
"""One pair for each training: rows of two datasets of the same form are the same on random faces."""


def store_of(dataset: str, folder: Path) -> FaceStore:
    """Random faces with what the entry of `datasets` prepares: its classes, annotations, action units, attributes."""
    options = params.resolve_dataset(SHIPPED, dataset, "smoke")["options"]
    made = make_store(folder, count=32, size=SIZE, classes=8)
    table, random = made.table.copy(), np.random.default_rng(0)
    table.loc[table.index[table["split"] == "val"][2:], "split"] = "test"  # every run draws the validation faces twice
    classes = options["classes"]
    table["expression"] = [classes[row % len(classes)] for row in range(len(table))]
    if options.get("action_units", "none") == "none":
        table = table[[name for name in table if not name.startswith("AU")]]
    if params.dataset_module(SHIPPED, dataset).startswith("celeba"):
        for name in SECGAN_ATTRIBUTES:
            table[f"{ATTRIBUTE}{name}"] = random.integers(0, 2, len(table))
    table.to_csv(folder / "index.csv", index=False)
    count = len(table)
    if "masks" not in options["annotations"]:
        (folder / f"masks_{SIZE}.npy").unlink()
    if "depth" in options["annotations"]:
        np.save(folder / f"depth_{SIZE}.npy", random.integers(0, 256, (count, SIZE, SIZE)).astype(np.uint8))
    if "normals" in options["annotations"]:
        np.save(folder / f"normals_{SIZE}.npy", random.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8))
    points = (0.3 + 0.4 * random.random((count, 68, 2))) * SIZE
    np.save(folder / "landmarks.npy", points.astype(np.float32))
    write_json(folder / "manifest.json", {"sizes": [SIZE], "classes": list(classes), "digest": "tiny"})
    return FaceStore(folder, SIZE)


def network_of(kind: str, name: str, dataset: str, classes: int, folder: Path) -> Path:
    """An untrained network in the form that a pre-training leaves it."""
    config: dict[str, Any]
    if kind == "segmenter":
        config = params.resolve_segmenter(SHIPPED, dataset, name, "smoke")["config"]
        network: Any = segmenter.build({**config, "image_size": SIZE})
        record = {"architecture": network.settings, "classes": list(SEGMENTATION_CLASSES)}
    else:
        config = params.resolve_depth_network(SHIPPED, dataset, name, "smoke")["config"]
        network = depth_network.build(config)
        chosen = build(DepthNetworkConfig, config, name)
        adversary = Adversary(chosen.adversary, SIZE, Condition(ConditionConfig(), EXPRESSIONS[:classes]))
        network.critic = adversary.network
        shape = ("conv_dim", "layers", "max_conv_dim", "negative_slope", "initialisation")
        critic = {
            "image_size": SIZE,
            "classes": adversary.network.classes,
            "matching": adversary.network.matching,
            **{key: getattr(chosen.adversary, key) for key in shape},
        }
        record = {"architecture": network.settings, "critic": critic}
    save_network(folder, network, {"kind": kind, "name": name, "dataset": dataset, **record, "config": config})
    return folder


def test_the_pairs_are_those_of_the_tables() -> None:
    assert len(PAIRS) > 35
    assert len(DIFFERENT) > 25


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trainings of this file leave their results: a training may start from that of another row."""
    return tmp_path_factory.mktemp("rows")


@pytest.mark.parametrize(("dataset", "method"), DIFFERENT)
def test_every_row_starts(dataset: str, method: str, results: Path, tmp_path: Path) -> None:
    train(dataset, method, results / dataset, tmp_path)
    assert (results / dataset / method / "generator.safetensors").is_file()


def train(dataset: str, method: str, results: Path, folder: Path) -> None:
    """Train for one step, after what the method starts from, unless that is done."""
    if (results / method / "generator.safetensors").is_file():
        return
    torch.manual_seed(0)
    earlier = params.starts_from(SHIPPED, dataset, method)
    if earlier is not None:
        assert earlier.dataset == dataset
        train(dataset, earlier.name, results, folder / earlier.name)
    store = store_of(dataset, folder / "store")
    settings = params.resolve(SHIPPED, dataset, method, "smoke")
    settings["training"] = {**settings["training"], "steps": 1, "batch_size": 2}
    folders = {
        kind: network_of(kind, entry, dataset, len(store.classes), folder / kind)
        for kind, entry in settings["pretrained"].items()
    }
    if earlier is not None:
        folders["starts_from"] = results / earlier.name
    train_method(settings, store.directory, folders, results / method, folder / "checkpoints")
