"""What the three supervised trainings share: reading settings, running the loop, writing the folder of the network."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.networks.stored import save_network
from mimik.settings.configuration import build
from mimik.settings.modules import named
from mimik.settings.params import merged_training
from mimik.storage.files import file_sha256, write_json, write_text
from mimik.storage.weights import read_pth
from mimik.training.batches import to_tensor
from mimik.training.devices import run_environment
from mimik.training.loop import History, Logger, TrainingConfig, train
from mimik.training.runs import to_plain


def training_config(published: Mapping[str, Any], settings: Mapping[str, Any], where: str) -> TrainingConfig:
    """Published settings of the loop with those of params.yaml. Raises `UserError` for unknown or impossible ones."""
    config = build(TrainingConfig, merged_training(published, settings.get("training", {})), f"{where}.training")
    if config.ema:
        raise UserError(
            f"{where}.training: ema must be 0 here: no average is kept of networks that are pre-trained. Let the "
            "learning rate fall instead (schedule: cosine)."
        )
    return config


def published(schedules: Mapping[str, Mapping[str, Any]], network: str, where: str) -> Mapping[str, Any]:
    """The published schedule of a network, of mimik's own `schedules` or of another package. Raises `UserError`."""
    if network in schedules:
        return schedules[network]
    schedule: Mapping[str, Any] = named("networks", network, f"{where}.network").TRAINING
    return schedule


def fit(
    task: Any,
    store: FaceStore,
    rows: npt.NDArray[Any],
    training: TrainingConfig,
    settings: Mapping[str, Any],
    resolved: Mapping[str, Any],
    checkpoint_dir: Path | str,
    logger: Logger | None,
    extras: Mapping[str, npt.NDArray[np.float32]] | None = None,
    weights: npt.NDArray[np.float64] | None = None,
) -> History:
    """Run the training loop; the checkpoint stays until `write_results` has written the result."""
    return train(
        task,
        store,
        rows,
        training,
        seed=settings["seed"],
        checkpoint_dir=checkpoint_dir,
        fingerprint={"config": resolved},
        label=f"{settings['dataset']}/{settings['name']}",
        logger=logger,
        keep_checkpoint=True,
        extras=extras,
        weights=weights,
    )


def is_first_process() -> bool:
    """Whether this process is the one that writes."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def write_results(
    output_dir: Path | str,
    checkpoint_dir: Path | str,
    network: nn.Module,
    config: Mapping[str, Any],
    history: History,
    metrics: Mapping[str, Any],
) -> None:
    """Write history.csv, metrics.json (NaN becomes null), model.safetensors and config.json; drop the checkpoint."""
    output = Path(output_dir)
    write_text(output / "history.csv", pd.DataFrame(history).to_csv(index=False))
    write_json(output / "metrics.json", without_nan(metrics))
    save_network(output, network, {**config, "environment": run_environment()})
    (Path(checkpoint_dir) / "last.pt").unlink(missing_ok=True)


def plain(config: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON-able values; groups of settings become dicts."""
    return {name: to_plain(value) for name, value in vars(config).items()}


def without_nan(value: Any) -> Any:
    """The same value with None in place of every NaN: JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def image_batches(
    store: FaceStore, rows: npt.NDArray[Any], device: torch.device, batch_size: int = 64
) -> Iterator[tuple[npt.NDArray[Any], Tensor]]:
    """Rows in order, in batches, with their images (B, 3, S, S) in [-1, 1]."""
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        yield part, to_tensor(store.images[part], device)


def labelled(store: FaceStore, split: str) -> npt.NDArray[Any]:
    """Rows of a split whose expression is known. Raises `UserError` when there is none, or, in `train`, of a class."""
    rows = store.training_rows() if split == "train" else store.rows(split)
    rows = rows[store.labels()[rows] >= 0]
    if not len(rows):
        raise UserError(f"{store.directory / 'index.csv'}: no face of the split '{split}' has an expression label.")
    return rows


def read_initial_weights(path: str, where: str) -> tuple[dict[str, Tensor], str]:
    """ImageNet weights (a state dict, .pth) and their SHA-256. Raises `UserError` when missing or unreadable."""
    file = Path(path)
    if not file.is_file():
        raise UserError(
            f"{where}.initial_weights: {file} does not exist. Put the file there, name where it is, or leave the "
            "setting empty to start from random weights."
        )
    state = read_pth(file, "a PyTorch state dict (ImageNet weights)", "Get the file again.")
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{file}: expected a PyTorch state dict, but not all of it are tensors. Get the file again.")
    return state, file_sha256(file)
