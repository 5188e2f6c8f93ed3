"""Training a method on a prepared dataset: from settings and a store to a generator on disk.

Writes into the result folder, each file atomically and the weights last:
    generator.safetensors   weights that translate (averaged where the run averages)
    config.json             the fully resolved settings, classes, image size, digests, machine
    history.csv             `step`, then `<update>/<term>`
    samples.png             rows of validation faces, columns of target classes
"""

import dataclasses
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mimik.batches import to_tensor, to_uint8
from mimik.configuration import build
from mimik.confusion import confusion_matrix, intersection_over_union
from mimik.devices import run_environment
from mimik.errors import UserError
from mimik.faces.store import FaceStore
from mimik.files import atomic_path, digest, file_sha256, read_json, write_json, write_text
from mimik.labels import IGNORED, SEGMENTATION_CLASSES
from mimik.training import Logger, TrainingConfig, train


def method_module(name: str) -> ModuleType:
    """The module of a method by its file name. Raises `UserError` for a name without a file."""
    try:
        return importlib.import_module(f"mimik.methods.{name}")
    except ModuleNotFoundError as error:
        raise UserError(f"params.yaml: there is no method '{name}' (src/mimik/methods/{name}.py).") from error


def train_method(
    settings: Mapping[str, Any],
    store_dir: Path | str,
    segmenter_dir: Path | str | None,
    output_dir: Path | str,
    checkpoint_dir: Path | str,
    logger: Logger | None = None,
) -> None:
    """Train one method and write its results.

    Args:
        settings: resolved for (dataset, method, scale): `dataset`, `method` (the entry's name), `module` (the file's
            name), `scale`, `seed`, `image_size`, `config` (overrides of the method's Config), `training` (overrides of
            its published schedule).
        store_dir: the prepared dataset.
        segmenter_dir: the pre-trained segmenter, for methods that have one.
        output_dir: results/<dataset>/<method>.
        checkpoint_dir: where the run's state is kept meanwhile.
        logger: mirror of losses and pictures.

    Raises:
        UserError: settings that do not fit, a missing file, a diverging run.
    """
    output, checkpoints = Path(output_dir), Path(checkpoint_dir)
    module = method_module(settings["module"])
    store = FaceStore(store_dir, settings["image_size"])
    where = f"methods.{settings['method']}"
    config = build(module.Config, settings["config"], where)
    training = build(TrainingConfig, {**module.TRAINING, **settings["training"]}, f"{where}.training")
    torch.manual_seed(settings["seed"])
    segmenter, segmenter_sha256 = None, None
    if segmenter_dir is not None:
        from mimik.networks.segmenter import load as load_segmenter

        segmenter = load_segmenter(segmenter_dir)
        segmenter_sha256 = file_sha256(Path(segmenter_dir) / "model.safetensors")
    method = _make(module, config, len(store.classes), store.size, segmenter, where)
    resolved = {
        **settings,
        "config": to_plain(config),
        "training": to_plain(training),
        "classes": store.classes,
        "dataset_digest": store.digest,
        "segmenter": None if segmenter is None else segmenter.settings,  # what load_method builds it from
        "segmenter_sha256": segmenter_sha256,
        "segmenter_architecture": None if segmenter is None else segmenter.settings,
        "template": store.manifest.get("template"),
    }
    probe = _Probe(method, store, checkpoints / "samples.png")
    history = train(
        method,
        store,
        store.rows("train"),
        training,
        seed=settings["seed"],
        checkpoint_dir=checkpoints,
        fingerprint={"config": resolved["config"], "module": settings["module"], "segmenter": segmenter_sha256},
        label=f"{settings['dataset']}/{settings['method']}",
        logger=logger,
        sample=probe,
        keep_checkpoint=True,
    )
    if torch.distributed.is_initialized() and torch.distributed.get_rank() != 0:
        return
    write_text(output / "history.csv", pd.DataFrame(history).to_csv(index=False))
    with atomic_path(output / "samples.png") as temporary:
        Image.fromarray(probe.grid()).save(temporary)
    write_json(
        output / "config.json", {**resolved, "config_digest": digest(resolved), "environment": run_environment()}
    )
    state = {name: value.detach().cpu() for name, value in method.generator_state().items()}
    with atomic_path(output / "generator.safetensors") as temporary:
        save_file(state, temporary, metadata={"config": json.dumps(resolved)})
    (checkpoints / "last.pt").unlink(missing_ok=True)


def load_method(result_dir: Path | str) -> tuple[nn.Module, dict[str, Any]]:
    """A trained method, in evaluation mode on the CPU, and its config.json.

    Raises:
        UserError: config.json or generator.safetensors is missing, damaged, or they do not belong together.
    """
    directory = Path(result_dir)
    resolved: dict[str, Any] = read_json(directory / "config.json")
    weights = directory / "generator.safetensors"
    try:
        module = method_module(resolved["module"])
        config = build(module.Config, resolved["config"], f"{directory / 'config.json'}: config")
        segmenter = None
        if resolved["segmenter_architecture"] is not None:
            from mimik.networks.segmenter import build as build_segmenter

            segmenter = build_segmenter(resolved["segmenter_architecture"])
        method = _make(module, config, len(resolved["classes"]), resolved["image_size"], segmenter, str(directory))
    except KeyError as error:
        raise UserError(
            f"{directory / 'config.json'}: lacks {error}; it was not written by mimik's training."
        ) from error
    try:
        state = load_file(weights)
    except FileNotFoundError as error:
        raise UserError(f"{weights}: no such file. Train the method first.") from error
    except Exception as error:
        raise UserError(f"{weights}: expected weights in safetensors format, but {error}. Train again.") from error
    try:
        method.load_generator_state(state)
    except (RuntimeError, KeyError) as error:
        raise UserError(f"{weights}: the weights do not fit config.json beside it ({error}).") from error
    return method.eval(), resolved


def to_plain(value: Any) -> Any:
    """A dataclass as JSON-able dicts and lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def _make(
    module: ModuleType, config: Any, classes: int, image_size: int, segmenter: nn.Module | None, where: str
) -> Any:
    try:
        return module.Method(config, classes, image_size, segmenter)
    except ValueError as error:
        raise UserError(f"{where}: {error}.") from error


class _Probe:
    """What is looked at while training: a grid of validation faces, and the segmenter's mIoU on them."""

    def __init__(self, method: Any, store: FaceStore, path: Path, count: int = 8) -> None:
        self.method, self.store, self.path = method, store, path
        rows = store.rows("val")
        self.rows = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
        masked = store.masks is not None and method.segmenter is not None
        self.mask_rows = rows[np.linspace(0, len(rows) - 1, min(64, len(rows))).astype(int)] if masked else None

    def __call__(self, step: int) -> tuple[Path, dict[str, float]]:
        with atomic_path(self.path) as temporary:
            Image.fromarray(self.grid()).save(temporary)
        return self.path, self._segmentation()

    def _images(self, rows: Any) -> Tensor:
        device = next(self.method.parameters()).device
        return to_tensor(self.store.images[rows], device)

    @torch.no_grad()
    def grid(self) -> Any:
        """uint8 (rows * S, (1 + C) * S, 3): input, then every target class."""
        method, store = self.method, self.store
        was_training = method.training
        method.eval()
        images = self._images(self.rows)
        columns = [store.images[self.rows]]
        source = torch.from_numpy(store.labels()[self.rows]).to(images.device)
        for target in range(len(store.classes)):
            columns.append(to_uint8(method.translate(images, source, torch.full_like(source, target))))
        method.train(was_training)
        rows, side = len(self.rows), store.size
        grid = np.stack(columns, 1).transpose(0, 2, 1, 3, 4)
        return np.ascontiguousarray(grid.reshape(rows * side, len(columns) * side, 3))

    @torch.no_grad()
    def _segmentation(self) -> dict[str, float]:
        if self.mask_rows is None or self.store.masks is None:
            return {}
        predicted = self.method.segmenter(self._images(self.mask_rows)).argmax(1).cpu().numpy()
        truth = np.asarray(self.store.masks[self.mask_rows])
        mean, _ = intersection_over_union(confusion_matrix(predicted, truth, len(SEGMENTATION_CLASSES), IGNORED))
        return {"probe/miou_val": mean}
