"""Released weights as a result of mimik: the folder that training would write, with the weights of a file in it.

    results/<dataset>/<method>/                      generator.safetensors, config.json, history.csv, samples.png
    data/pretrained/<dataset>/segmenter/<name>/      model.safetensors, config.json, history.csv, metrics.json

Everything that reads such a folder reads these as well. config.json says under `imported` where the weights come from;
there is no schedule in it, and no row in history.csv, since nothing was trained here. The workflow does not make such
a folder again (`mimik.settings.imported`).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from mimik.components.conditions import Condition, ConditionConfig
from mimik.components.context import Context, stored_state
from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.labels import SEGMENTATION_CLASSES
from mimik.networks.segmenter import KIND, build
from mimik.networks.stored import save_network
from mimik.pretraining.runs import plain
from mimik.pretraining.segmenter import CONFIG, SegmenterConfig, segmentation_metrics
from mimik.released import attgan, celebamask_hq, face_parsing, stargan
from mimik.released.conversion import read_weights
from mimik.settings.configuration import build as build_config
from mimik.settings.imported import MARK, check_importable
from mimik.storage.files import atomic_path, digest, file_sha256, write_json, write_text
from mimik.storage.weights import save_safetensors
from mimik.training.devices import run_environment
from mimik.training.runs import method_module, sample_grid, to_plain

METHODS: Mapping[str, ModuleType] = {"stargan": stargan, "attgan": attgan}
"""Releases of generators, by what `mimik import --as` calls them, which is also the method's module."""

SEGMENTERS: Mapping[str, ModuleType] = {"face_parsing": face_parsing, "celebamask_hq": celebamask_hq}
"""Releases of face parsers."""

RELEASES = (*METHODS, *SEGMENTERS)


def import_method(
    settings: Mapping[str, Any],
    weights: Path,
    release: str,
    labels: Sequence[str],
    store_dir: Path,
    output: Path,
) -> None:
    """Write the results folder of a method with released weights.

    Args:
        settings: resolved for the entry, see `mimik.training.runs.train_method`; with `run_key`, which names it in
            MLflow.
        weights: the released file.
        release: of `METHODS`.
        labels: what the weights' labels mean, in their order; empty: as in the released models.
        store_dir: the prepared dataset, which decides classes and size.
        output: results/<dataset>/<method>.

    Raises:
        UserError: the entry is not of that method, or told something else than labels; the weights do not fit; the
            folder holds what was trained; the dataset is not prepared.
    """
    module, where = METHODS[release], f"methods.{settings['method']}"
    if settings["module"] != release:
        raise UserError(
            f"{where}: configures {settings['module']}. Weights of {module.SOURCE.what} need an entry with "
            f"`method: {release}`."
        )
    if settings["guidance"] or settings["pretrained"] or settings["starts_from"]:
        raise UserError(
            f"{where}: has guidance, or starts from other networks, so it describes another training than that of "
            f"{module.SOURCE.repository}. Import into an entry without them."
        )
    check_importable(output)
    store = FaceStore(store_dir, settings["image_size"])
    method_file = method_module(release)
    config = build_config(method_file.Config, settings["config"], where)
    told = build_config(ConditionConfig, {**method_file.CONDITION, **settings["condition"]}, f"{where}.condition")
    try:
        condition = Condition(told, store.classes, store.attribute_names)
        method = method_file.Method(config, Context(condition, store.size))
    except ValueError as error:
        raise UserError(f"{where}: {error}.") from error
    if told.space == "action_units" or told.form != "absolute":
        raise UserError(f"{where}.condition: {module.SOURCE.what} is told absolute labels: expressions or attributes.")
    known = tuple(labels) or tuple(module.labels(condition))
    if sorted(known) != sorted(condition.names):
        raise UserError(
            f"{where}: its generator is told {', '.join(condition.names)}, the weights know {', '.join(known)}. Set "
            "`condition.names` (or the dataset's `classes`) to these, or say with --labels what they know."
        )
    state = module.weights(weights, read_weights(weights, module.SOURCE.what), method, known)
    method.generator.load_state_dict(state)
    resolved = {
        **settings,
        "config": to_plain(config),
        "condition": to_plain(told),
        "training": {},
        "classes": store.classes,
        "attributes": store.attribute_names,
        "action_units": store.action_unit_extractor,
        "dataset_digest": store.digest,
        "architectures": {},
        "pretrained_sha256": {},
        "starts_from_sha256": None,
        "template": store.manifest.get("template"),
        "sizes": store.manifest["sizes"],
        MARK: {**_origin(module, weights), "labels": list(known)},
    }
    with atomic_path(output / "samples.png") as temporary:
        Image.fromarray(sample_grid(method.eval(), store)).save(temporary, "png")
    write_text(output / "history.csv", "step\n")
    write_json(
        output / "config.json", {**resolved, "config_digest": digest(resolved), "environment": run_environment()}
    )
    save_safetensors(
        output / "generator.safetensors",
        stored_state(method.generator, condition),
        metadata={"config": json.dumps(resolved)},
    )


def import_segmenter(
    settings: Mapping[str, Any], weights: Path, release: str, store_dir: Path, output: Path
) -> str | None:
    """Write the folder of a segmenter with released weights.

    Its masks are measured on the test split where the dataset is prepared with masks.

    Args:
        settings: resolved for the entry, see `mimik.pretraining.segmenter.pretrain_segmenter`.
        weights: the released file.
        release: of `SEGMENTERS`.
        store_dir: the prepared dataset; it need not be there.
        output: data/pretrained/<dataset>/segmenter/<name>.

    Returns:
        why nothing was measured, or None.

    Raises:
        UserError: the entry is of another network; the weights do not fit; the folder holds what was trained.
    """
    module, where = SEGMENTERS[release], f"segmenters.{settings['name']}"
    network = settings["config"].get("network")
    if network != module.NETWORK:
        raise UserError(
            f"{where}: its network is {network}. Weights of {module.SOURCE.what} need an entry with "
            f"`network: {module.NETWORK}`."
        )
    check_importable(output)
    config = build_config(SegmenterConfig, {**CONFIG.get(network, {}), **settings["config"]}, where)
    segmenter = build({"image_size": module.SIZE, **plain(config)})
    state = module.weights(weights, read_weights(weights, module.SOURCE.what), segmenter.network)
    segmenter.network.load_state_dict(state)
    store, reason = _measurable(store_dir, int(settings["image_size"]))
    metrics = {"skipped": reason} if store is None else segmentation_metrics(segmenter, store)
    record = {
        "kind": KIND,
        "name": settings["name"],
        "dataset": settings["dataset"],
        "seed": settings["seed"],
        "image_size": module.SIZE,
        "architecture": segmenter.settings,
        "normalisation": segmenter.normalisation,
        "classes": list(SEGMENTATION_CLASSES),
        "config": {**plain(config), "initial_weights": None},
        "training": {},
        "dataset_digest": "" if store is None else store.digest,
        MARK: _origin(module, weights),
        "environment": run_environment(),
    }
    write_text(output / "history.csv", "step\n")
    write_json(output / "metrics.json", metrics)
    save_network(output, segmenter, record)
    return reason


def _measurable(store_dir: Path, size: int) -> tuple[FaceStore | None, str | None]:
    """The prepared dataset if it has masks to measure a segmenter on; else why not."""
    if not (store_dir / "manifest.json").is_file():
        return None, f"{store_dir} is not prepared, so the masks were not measured."
    store = FaceStore(store_dir, size)
    if store.masks is None:
        return None, f"{store_dir} has no masks at {size} px, so the masks were not measured."
    if not np.any(store.table["split"] == "test"):
        return None, f"{store_dir} has no test faces, so the masks were not measured."
    return store, None


def _origin(module: ModuleType, weights: Path) -> dict[str, Any]:
    """Where imported weights come from, for config.json."""
    return {
        "repository": module.SOURCE.repository,
        "read_at": module.SOURCE.commit,
        "file": weights.name,
        "sha256": file_sha256(weights),
    }
