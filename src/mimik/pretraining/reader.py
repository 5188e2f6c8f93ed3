"""Training of the face reader on rendered faces, with the renderer's action units and identities. No paper.

Only for datasets whose action units are exact and which describe identities by numbers (`synthetic`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.labels import ACTION_UNITS
from mimik.networks.face_reader import KIND, FaceReader, build, load
from mimik.pretraining import runs
from mimik.pretraining.augmentation import add_noise, shift, soften
from mimik.settings.configuration import build as build_config
from mimik.training.batches import Batch
from mimik.training.loop import Logger, Terms, Update

__all__ = ["ReaderConfig", "ReaderTask", "load", "pretrain_reader"]

Scores = npt.NDArray[np.float64]

TRAINING: Mapping[str, Any] = {
    "steps": 1000,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "betas": (0.9, 0.999),
    "schedule": "cosine",
    "flip": False,
}
"""Settings of the loop. No flips: a mirrored face has the parting of its hair on the other side, another identity."""


@dataclass(frozen=True)
class ReaderConfig:
    """Settings of the reader.

    Attributes:
        network: `face_reader`, the only choice.
        width: channels of the first convolution.
        identity_weight: weight of the identity term relative to that of the action units.
        shift, soften, noise: see `mimik.pretraining.classifier.ClassifierConfig`. Colours are not changed, since they
            belong to the identity.
    """

    network: Literal["face_reader"] = "face_reader"
    width: int = 32
    identity_weight: float = 0.05
    shift: float = 0.02
    soften: float = 0.3
    noise: float = 0.06

    def __post_init__(self) -> None:
        if self.width < 1 or self.identity_weight < 0:
            raise ValueError("width must be at least 1 and identity_weight must not be negative")
        for name in ("shift", "soften", "noise"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")


class ReaderTask(nn.Module):
    """A reader under supervision by the renderer's truth."""

    updates: Sequence[Update] = (Update("reader"),)
    reads = frozenset({"action_units"})
    averaged: nn.Module | None = None

    def __init__(self, reader: FaceReader, config: ReaderConfig) -> None:
        super().__init__()
        self.reader = reader
        self.config = config

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean."""
        return [self.reader.trunk]

    def reader_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Mean squared error of the action units plus the weighted one of the standardised descriptor."""
        config = self.config
        images = add_noise(soften(shift(batch["image"], config.shift), config.soften), config.noise)
        units, descriptor = self.reader(images)
        unit_loss = F.mse_loss(units, batch["action_units"])
        identity_loss = F.mse_loss(descriptor, self.reader.standardise(batch["identity_descriptor"]))
        total = unit_loss + config.identity_weight * identity_loss
        return total, {"action_units": unit_loss.detach(), "identity": identity_loss.detach()}

    def reader_parameters(self) -> list[dict[str, Any]]:
        """Everything, in one group."""
        return [{"params": list(self.reader.parameters())}]


def correlation(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Scores:
    """Pearson's correlation of every column of two (N, k) arrays, float64 (k,); NaN where a column is constant."""
    a, b = (values.astype(np.float64) - values.mean(0, dtype=np.float64) for values in (first, second))
    scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    result: Scores = np.full(a.shape[1], np.nan)
    np.divide((a * b).sum(0), scale, out=result, where=scale > 0)
    return result


def determination(predicted: npt.NDArray[Any], truth: npt.NDArray[Any]) -> Scores:
    """R^2 of every column of (N, k) arrays: 1 - residual / total sum of squares; NaN where the truth is constant."""
    truth = truth.astype(np.float64)
    total = ((truth - truth.mean(0)) ** 2).sum(0)
    result: Scores = np.full(truth.shape[1], np.nan)
    np.divide(((predicted - truth) ** 2).sum(0), total, out=result, where=total > 0)
    return 1 - result


def pretrain_reader(
    settings: Mapping[str, Any],
    store_dir: Path | str,
    output_dir: Path | str,
    checkpoint_dir: Path | str,
    logger: Logger | None = None,
) -> None:
    """Train the reader on the train split and measure it on the test split, whose identities it has not seen.

    Writes model.safetensors, config.json, history.csv and metrics.json: `au_mae`, `au_mae_per_unit`,
    `au_correlation_per_unit` (null where a unit never varies), `identity_r2` (mean over the descriptor's entries) and
    `identity_r2_per_entry`.

    Args:
        settings: `dataset`, `name`, `seed`, `image_size`, `config` (see `ReaderConfig`), `training` (overrides of
            `TRAINING`); further entries are recorded only.
        store_dir: the prepared dataset.
        output_dir, checkpoint_dir: where results and the run's state go.
        logger: mirror of the losses.

    Raises:
        UserError: settings that do not fit, a missing file, a dataset without exact truth, a diverging run.
    """
    from mimik.datasets import synthetic

    where = f"readers.{settings['name']}"
    config = build_config(ReaderConfig, settings["config"], where)
    training = runs.training_config(TRAINING, settings, where)
    store = FaceStore(store_dir, settings["image_size"])
    if store.manifest["source"] != "rendered":
        raise UserError(
            f"{where}: a face reader learns from the renderer's truth, which {settings['dataset']} does not have. "
            "Train it on synthetic."
        )
    rows, test_rows = store.rows("train"), store.rows("test")
    truth_units = store.action_units()
    if truth_units is None:
        raise UserError(f"{store.directory / 'index.csv'}: has no action units (columns AU01 to AU45).")
    truth_identity = synthetic.identity_descriptor(store.table)
    torch.manual_seed(settings["seed"])
    reader = build(vars(config), truth_identity.shape[1])
    known = truth_identity[rows].astype(np.float64)
    deviation = known.std(0)
    reader.identity_mean.copy_(torch.from_numpy(known.mean(0)))
    # An entry that never varies in training carries nothing; it stays in its own unit.
    reader.identity_scale.copy_(torch.from_numpy(np.where(deviation > 1e-6, deviation, 1.0)))
    task = ReaderTask(reader, config)
    extras = {"identity_descriptor": truth_identity}
    history = runs.fit(task, store, rows, training, settings, vars(config), checkpoint_dir, logger, extras)
    if not runs.is_first_process():
        return
    units, descriptor = _read(reader, store, test_rows)
    device = reader.identity_mean.device
    standardised = reader.standardise(torch.from_numpy(truth_identity[test_rows]).to(device)).cpu().numpy()
    errors = np.abs(units - truth_units[test_rows]).mean(0, dtype=np.float64)
    correlations = correlation(units, truth_units[test_rows])
    r2 = determination(descriptor, standardised)
    metrics = {
        "split": "test",
        "images": len(test_rows),
        "au_mae": float(errors.mean()),
        "au_mae_per_unit": dict(zip(ACTION_UNITS, errors.tolist(), strict=True)),
        "au_correlation_per_unit": dict(zip(ACTION_UNITS, correlations.tolist(), strict=True)),
        "identity_r2": float(np.nanmean(r2)),
        "identity_r2_per_entry": r2.tolist(),
    }
    record = {
        "kind": KIND,
        "name": settings["name"],
        "dataset": settings["dataset"],
        "seed": settings["seed"],
        "image_size": store.size,
        "architecture": {"width": config.width},
        "identity_dim": reader.identity_dim,
        "config": vars(config),
        "training": runs.plain(training),
        "training_images": len(rows),
        "dataset_digest": store.digest,
        "action_units": store.action_unit_extractor,
    }
    runs.write_results(output_dir, checkpoint_dir, reader, record, history, metrics)


@torch.no_grad()
def _read(
    reader: FaceReader, store: FaceStore, rows: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    device = next(reader.parameters()).device
    reader.eval()
    units, descriptors = [], []
    for _, images in runs.image_batches(store, rows, device):
        both = reader(images)
        units.append(both[0].cpu().numpy())
        descriptors.append(both[1].cpu().numpy())
    return np.concatenate(units), np.concatenate(descriptors)
