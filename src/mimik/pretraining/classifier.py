"""Training of the expression classifier that judges edits (Bodur et al., section 4: VGG-16 on the real train split).

It judges the pictures of generators, so it must see expressions and not the high-frequency traces that generators
leave: every training image is moved, softened, dimmed and made noisy a little. The papers print no schedule; `TRAINING`
is ours. VGG-16 starts from ImageNet weights where `initial_weights` names them (as is usual with it), else from random
ones, with the published layers either way; config.json says which.
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

from mimik.batches import Batch
from mimik.configuration import build as build_config
from mimik.confusion import accuracy, confusion_matrix, macro_f1, per_class_accuracy
from mimik.errors import UserError
from mimik.faces.store import FaceStore
from mimik.networks.expression_classifier import KIND, ExpressionClassifier, build, load
from mimik.networks.vgg16 import VGG16
from mimik.pretraining import runs
from mimik.pretraining.augmentation import add_noise, colour_jitter, shift, soften
from mimik.training import Logger, Terms, Update

__all__ = ["ClassifierConfig", "ClassifierTask", "load", "pretrain_classifier"]

TRAINING: Mapping[str, Mapping[str, Any]] = {
    "vgg16": {"steps": 40_000, "batch_size": 32, "learning_rate": 1e-4, "betas": (0.9, 0.999), "schedule": "cosine"},
    "small": {"steps": 800, "batch_size": 32, "learning_rate": 2e-3, "betas": (0.9, 0.999), "schedule": "cosine"},
}
"""Settings of the loop, by network; both draw balanced batches and flip."""


@dataclass(frozen=True)
class ClassifierConfig:
    """Settings of one classifier.

    Attributes:
        network: `vgg16` or `small`.
        width: channels of the first layer of the small network; None: 32.
        shift: largest move of a training image, as a fraction of its side.
        jitter: strength of the changes of brightness, contrast and saturation.
        soften: probability of a slight blur.
        noise: largest deviation of the added noise, in units of [-1, 1].
        label_smoothing: probability given to the wrong classes together.
        initial_weights: path of ImageNet weights of VGG-16 (.pth); None starts from random weights.
    """

    network: Literal["vgg16", "small"] = "vgg16"
    width: int | None = None
    shift: float = 0.04
    jitter: float = 0.2
    soften: float = 0.3
    noise: float = 0.06
    label_smoothing: float = 0.05
    initial_weights: str | None = None

    def __post_init__(self) -> None:
        for name in ("shift", "jitter", "soften", "noise", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        if self.width is not None and (self.network != "small" or self.width < 1):
            raise ValueError("width is for the small network, at least 1")
        if self.initial_weights is not None and self.network != "vgg16":
            raise ValueError("initial_weights are for vgg16")


class ClassifierTask(nn.Module):
    """A classifier under supervision by expression labels."""

    updates: Sequence[Update] = (Update("classifier"),)
    reads: frozenset[str] = frozenset({"label"})
    averaged: nn.Module | None = None

    def __init__(self, classifier: ExpressionClassifier, config: ClassifierConfig) -> None:
        super().__init__()
        self.classifier = classifier
        self.config = config

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean."""
        return [self.classifier.network]

    def classifier_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Softmax cross-entropy on the augmented batch."""
        config = self.config
        images = soften(shift(batch["image"], config.shift), config.soften)
        images = add_noise(colour_jitter(images, config.jitter), config.noise)
        logits = self.classifier(images)
        loss = F.cross_entropy(logits, batch["label"], label_smoothing=config.label_smoothing)
        correct = (logits.detach().argmax(1) == batch["label"]).float().mean()
        return loss, {"cross_entropy": loss.detach(), "accuracy": correct}

    def classifier_parameters(self) -> list[dict[str, Any]]:
        """Everything, in one group."""
        return [{"params": list(self.classifier.parameters())}]


@torch.no_grad()
def classification_confusion(
    classifier: ExpressionClassifier, store: FaceStore, rows: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """Confusion of labelled `rows`, int64 (C, C), rows the truth; the classifier is put into eval mode."""
    device = next(classifier.parameters()).device
    classifier.eval()
    labels = store.labels()
    total = np.zeros((len(store.classes), len(store.classes)), np.int64)
    for part, images in runs.image_batches(store, rows, device):
        total += confusion_matrix(classifier(images).argmax(1).cpu().numpy(), labels[part], len(store.classes))
    return total


def pretrain_classifier(
    settings: Mapping[str, Any],
    store_dir: Path | str,
    output_dir: Path | str,
    checkpoint_dir: Path | str,
    logger: Logger | None = None,
) -> None:
    """Train a classifier on the train split and measure it on the real test split.

    Writes model.safetensors, config.json, history.csv and metrics.json (`accuracy`, `accuracy_per_class`, `macro_f1`,
    `confusion`).

    Args:
        settings: `dataset`, `name`, `seed`, `image_size`, `config` (see `ClassifierConfig`), `training` (overrides of
            `TRAINING`); further entries are recorded only.
        store_dir: the prepared dataset.
        output_dir, checkpoint_dir: where results and the run's state go.
        logger: mirror of the losses.

    Raises:
        UserError: settings that do not fit, a missing file, no labelled face in a split, a diverging run.
    """
    where = f"classifiers.{settings['name']}"
    config = build_config(ClassifierConfig, settings["config"], where)
    training = runs.training_config({"balanced": True, "flip": True, **TRAINING[config.network]}, settings, where)
    store = FaceStore(store_dir, settings["image_size"])
    rows, test_rows = runs.labelled(store, "train"), runs.labelled(store, "test")
    torch.manual_seed(settings["seed"])
    architecture = {"network": config.network, "width": config.width}
    classifier = build(architecture, store.classes)
    start = "random"
    if config.initial_weights is not None and isinstance(classifier.network, VGG16):
        state, start = runs.read_initial_weights(config.initial_weights, where)
        try:
            classifier.network.load_imagenet(state)
        except ValueError as error:
            raise UserError(f"{config.initial_weights}: {error}. Get the ImageNet weights of VGG-16.") from error
    resolved = {**vars(config), "initial_weights": start}
    task = ClassifierTask(classifier, config)
    history = runs.fit(task, store, rows, training, settings, resolved, checkpoint_dir, logger)
    if not runs.is_first_process():
        return
    confusion = classification_confusion(classifier, store, test_rows)
    metrics = {
        "split": "test",
        "images": len(test_rows),
        "accuracy": accuracy(confusion),
        "accuracy_per_class": dict(zip(store.classes, per_class_accuracy(confusion).tolist(), strict=True)),
        "macro_f1": macro_f1(confusion),
        "confusion": confusion.tolist(),
    }
    record = {
        "kind": KIND,
        "name": settings["name"],
        "dataset": settings["dataset"],
        "seed": settings["seed"],
        "image_size": store.size,
        "architecture": architecture,
        "classes": store.classes,
        "config": resolved,
        "training": runs.plain(training),
        "training_images": len(rows),
        "dataset_digest": store.digest,
    }
    runs.write_results(output_dir, checkpoint_dir, classifier, record, history, metrics)
