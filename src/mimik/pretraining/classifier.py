"""Training of the classifier that judges edits: of expressions, or of binary attributes, on the real train split.

Bodur et al., section 4, judge expressions with VGG-16; Sun et al. (SeCGAN), section 4, judge attributes with a network
that they do not describe, for which that of STGAN's authors stands here (docs/papers/secgan.md#measurements).

It judges the pictures of generators, so it must see expressions and not the high-frequency traces that generators
leave: every training image is moved, softened, dimmed and made noisy a little. The papers print no schedule; `TRAINING`
is ours. VGG-16 starts from ImageNet weights where `initial_weights` names them (as is usual with it), else from random
ones, with the published layers either way; config.json says which. Learning rate, batch and length of STGAN's are those
of its authors' code (25 epochs of 182,637 faces).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.faces.prepared.label_quality import Drawn, drawn
from mimik.faces.prepared.store import FaceStore
from mimik.networks.face_classifier import KIND, FaceClassifier, Predicts, build, load
from mimik.networks.vgg16 import VGG16
from mimik.pretraining import runs
from mimik.pretraining.augmentation import add_noise, colour_jitter, shift, soften
from mimik.settings.configuration import build as build_config
from mimik.settings.external import is_external
from mimik.statistics.confusion import accuracy, confusion_matrix, macro_f1, per_class_accuracy
from mimik.training.batches import Batch
from mimik.training.loop import Logger, Terms, TrainingConfig, Update

__all__ = ["ClassifierConfig", "ClassifierTask", "load", "pretrain_classifier"]

TRAINING: Mapping[str, Mapping[str, Any]] = {
    "vgg16": {"steps": 40_000, "batch_size": 32, "learning_rate": 1e-4, "betas": (0.9, 0.999), "schedule": "cosine"},
    "stgan_classifier": {
        "steps": 71_000,
        "batch_size": 64,
        "learning_rate": 2e-4,
        "betas": (0.9, 0.999),
        "schedule": "cosine",
    },
    "small": {"steps": 800, "batch_size": 32, "learning_rate": 2e-3, "betas": (0.9, 0.999), "schedule": "cosine"},
}
"""Settings of the loop, by network; all flip, those of expressions draw balanced batches."""


@dataclass(frozen=True)
class ClassifierConfig:
    """Settings of one classifier.

    Attributes:
        network: `vgg16`, `stgan_classifier`, `small`, or the full name of a module of another package.
        predicts: `expression`, or `attributes`, each independently.
        names: which attributes; empty: all that the dataset has. Not for expressions, which are its classes.
        width: channels of the first layer of the small network; None: 32. Also passed to networks of other packages.
        shift: largest shift of a training image, as a fraction of its side.
        jitter: strength of the random changes of brightness, contrast and saturation.
        soften: probability of a slight blur.
        noise: largest standard deviation of the added noise, in units of [-1, 1].
        label_smoothing: probability spread over the classes, or over the two values of each attribute.
        initial_weights: path of ImageNet weights of VGG-16 (.pth); None starts from random weights.
    """

    network: str = "vgg16"
    predicts: Predicts = "expression"
    names: tuple[str, ...] = ()
    width: int | None = None
    shift: float = 0.04
    jitter: float = 0.2
    soften: float = 0.3
    noise: float = 0.06
    label_smoothing: float = 0.05
    initial_weights: str | None = None

    def __post_init__(self) -> None:
        if self.network not in ("vgg16", "stgan_classifier", "small") and not is_external(self.network):
            known = "vgg16, stgan_classifier, small or PACKAGE.MODULE"
            raise ValueError(f"network must be {known}, not {self.network!r}")
        for name in ("shift", "jitter", "soften", "noise", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        takes_width = self.network == "small" or is_external(self.network)
        if self.width is not None and (not takes_width or self.width < 1):
            raise ValueError("width is for the small network, at least 1")
        if self.names and self.predicts == "expression":
            raise ValueError("names selects attributes; expressions are always the dataset's classes")
        if len(set(self.names)) < len(self.names):
            raise ValueError("names must be distinct")
        if self.initial_weights is not None and self.network != "vgg16":
            raise ValueError("initial_weights is only for vgg16")


class ClassifierTask(nn.Module):
    """A classifier under supervision by expression labels."""

    updates: Sequence[Update] = (Update("classifier"),)
    reads: frozenset[str] = frozenset({"label"})
    averaged: nn.Module | None = None

    def __init__(self, classifier: FaceClassifier, config: ClassifierConfig) -> None:
        super().__init__()
        self.classifier = classifier
        self.config = config

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean."""
        return [self.classifier.network]

    def classifier_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Softmax cross-entropy on the augmented batch."""
        logits = self.classifier(self.augmented(batch["image"]))
        loss = F.cross_entropy(logits, batch["label"], label_smoothing=self.config.label_smoothing)
        correct = (logits.detach().argmax(1) == batch["label"]).float().mean()
        return loss, {"cross_entropy": loss.detach(), "accuracy": correct}

    def augmented(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1], moved, softened, dimmed and made noisy a little."""
        config = self.config
        images = soften(shift(images, config.shift), config.soften)
        return add_noise(colour_jitter(images, config.jitter), config.noise)

    def classifier_parameters(self) -> list[dict[str, Any]]:
        """Everything, in one group."""
        return [{"params": list(self.classifier.parameters())}]


class AttributeTask(ClassifierTask):
    """A classifier under supervision by binary attributes."""

    reads: frozenset[str] = frozenset({"attributes"})

    def __init__(self, classifier: FaceClassifier, config: ClassifierConfig, known: Sequence[str]) -> None:
        """`known`: the attributes of the dataset, in the order of the batch."""
        super().__init__(classifier, config)
        columns = torch.tensor([list(known).index(name) for name in classifier.classes], dtype=torch.int64)
        self.register_buffer("columns", columns, persistent=False)
        self.columns: Tensor

    def classifier_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Binary cross-entropy on the augmented batch, mean over faces and attributes."""
        wanted = batch["attributes"][:, self.columns]
        logits = self.classifier(self.augmented(batch["image"]))
        share = self.config.label_smoothing
        loss = F.binary_cross_entropy_with_logits(logits, wanted * (1 - share) + share / 2)
        correct = ((logits.detach() > 0) == wanted.bool()).float().mean()
        return loss, {"cross_entropy": loss.detach(), "accuracy": correct}


@torch.no_grad()
def classification_confusion(
    classifier: FaceClassifier, store: FaceStore, rows: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """Confusion of labelled `rows`, int64 (C, C), rows the truth; the classifier is put into eval mode."""
    device = next(classifier.parameters()).device
    classifier.eval()
    labels = store.labels()
    total = np.zeros((len(store.classes), len(store.classes)), np.int64)
    for part, images in runs.image_batches(store, rows, device):
        total += confusion_matrix(classifier(images).argmax(1).cpu().numpy(), labels[part], len(store.classes))
    return total


@torch.no_grad()
def attribute_confusions(classifier: FaceClassifier, store: FaceStore, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Confusion of each attribute, int64 (A, 2, 2), rows the truth, 0 without and 1 with it; puts it into eval mode."""
    device = next(classifier.parameters()).device
    classifier.eval()
    values = _attributes(store, classifier.classes)
    total = np.zeros((len(classifier.classes), 2, 2), np.int64)
    for part, images in runs.image_batches(store, rows, device):
        seen = (classifier(images) > 0).cpu().numpy().astype(np.int64)
        total += [confusion_matrix(seen[:, i], values[part, i], 2) for i in range(seen.shape[1])]
    return total


def pretrain_classifier(
    settings: Mapping[str, Any],
    store_dir: Path | str,
    output_dir: Path | str,
    checkpoint_dir: Path | str,
    logger: Logger | None = None,
    *,
    labels_dir: Path | str | None = None,
) -> None:
    """Train a classifier on the train split and measure it on the real test split.

    Writes model.safetensors, config.json, history.csv and metrics.json: of expressions `accuracy`,
    `accuracy_per_class`, `macro_f1`, `confusion`; of attributes `accuracy` and `balanced_accuracy` (means over them),
    and by attribute `accuracy_per_attribute`, `balanced_accuracy_per_attribute` (the mean of the shares of faces with
    and without it that are told right; null where the test split lacks either) and `share_per_attribute` (of the test
    faces, those that have it).

    Args:
        settings: `dataset`, `name`, `seed`, `image_size`, `config` (see `ClassifierConfig`), `training` (overrides of
            `TRAINING`), and with `labels_dir` `label_quality`; further entries are recorded only.
        store_dir: the prepared dataset.
        output_dir, checkpoint_dir: where results and the run's state go.
        logger: mirror of the losses.
        labels_dir: scores of the training faces' labels (`mimik.faces.prepared.label_quality`), used as
            `label_quality` says (`action`, `reliable`). The faces that it is measured on are all of the test split.

    Raises:
        UserError: settings that do not fit, a missing file, no labelled face in a split, an attribute that the dataset
            lacks, a diverging run.
    """
    config, training = settings_read(settings)
    of_attributes = config.predicts == "attributes"
    store = FaceStore(store_dir, settings["image_size"])
    chosen: Drawn | None = None
    if of_attributes:
        classes = list(config.names) or store.attribute_names
        _attributes(store, classes)
        rows, test_rows = (_all_rows(store, split) for split in ("train", "test"))
    else:
        classes = store.classes
        rows, test_rows = (runs.labelled(store, split) for split in ("train", "test"))
        if labels_dir is not None:
            chosen = drawn(labels_dir, store, **settings["label_quality"])
            rows = np.intersect1d(rows, chosen.rows)
    classifier, resolved = untrained(config, settings, classes)
    if chosen is not None:
        resolved["label_quality"] = dict(chosen.facts)
    task = (
        AttributeTask(classifier, config, store.attribute_names)
        if of_attributes
        else ClassifierTask(classifier, config)
    )
    weights = None if chosen is None else chosen.weights
    history = runs.fit(task, store, rows, training, settings, resolved, checkpoint_dir, logger, weights=weights)
    if not runs.is_first_process():
        return
    measured = _attribute_scores if of_attributes else _expression_scores
    metrics = {"split": "test", "images": len(test_rows), **measured(classifier, store, test_rows)}
    record = {
        "kind": KIND,
        "name": settings["name"],
        "dataset": settings["dataset"],
        "seed": settings["seed"],
        "image_size": store.size,
        "architecture": _architecture(config),
        "classes": classes,
        "config": resolved,
        "training": runs.plain(training),
        "training_images": len(rows),
        "dataset_digest": store.digest,
    }
    runs.write_results(output_dir, checkpoint_dir, classifier, record, history, metrics)


def settings_read(settings: Mapping[str, Any]) -> tuple[ClassifierConfig, TrainingConfig]:
    """Both groups of settings of `pretrain_classifier`, complete. Raises `UserError` for those that do not fit."""
    where = f"classifiers.{settings['name']}"
    config = build_config(ClassifierConfig, settings["config"], where)
    of_attributes = config.predicts == "attributes"
    published = {"balanced": not of_attributes, "flip": True, **runs.published(TRAINING, config.network, where)}
    training = runs.training_config(published, settings, where)
    if of_attributes and (training.balanced or training.stratified):
        raise UserError(
            f"{where}.training: balanced batches are for expressions only; leave `balanced` false for attributes."
        )
    return config, training


def untrained(
    config: ClassifierConfig, settings: Mapping[str, Any], classes: Sequence[str]
) -> tuple[FaceClassifier, dict[str, Any]]:
    """A classifier as its training begins with it, and its settings for the record.

    Args:
        config: of the classifier.
        settings: `name` and `seed`.
        classes: names of the expressions, or of the attributes.

    Raises:
        UserError: `initial_weights` that cannot be used.
    """
    where = f"classifiers.{settings['name']}"
    torch.manual_seed(settings["seed"])
    classifier = build(_architecture(config), classes)
    start = "random"
    if config.initial_weights is not None and isinstance(classifier.network, VGG16):
        state, start = runs.read_initial_weights(config.initial_weights, where)
        try:
            classifier.network.load_imagenet(state)
        except ValueError as error:
            raise UserError(f"{config.initial_weights}: {error}. Get the ImageNet weights of VGG-16.") from error
    return classifier, {**runs.plain(config), "initial_weights": start}


def _architecture(config: ClassifierConfig) -> dict[str, Any]:
    return {"network": config.network, "width": config.width, "predicts": config.predicts}


def _expression_scores(classifier: FaceClassifier, store: FaceStore, rows: npt.NDArray[Any]) -> dict[str, Any]:
    confusion = classification_confusion(classifier, store, rows)
    return {
        "accuracy": accuracy(confusion),
        "accuracy_per_class": dict(zip(store.classes, per_class_accuracy(confusion).tolist(), strict=True)),
        "macro_f1": macro_f1(confusion),
        "confusion": confusion.tolist(),
    }


def _attribute_scores(classifier: FaceClassifier, store: FaceStore, rows: npt.NDArray[Any]) -> dict[str, Any]:
    confusions = attribute_confusions(classifier, store, rows)
    right = np.array([accuracy(confusion) for confusion in confusions])
    balanced = np.array([per_class_accuracy(confusion).mean() for confusion in confusions])
    shares = confusions[:, 1].sum(1) / len(rows)

    def named(values: npt.NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(classifier.classes, values.tolist(), strict=True))

    return {
        "accuracy": float(right.mean()),
        "accuracy_per_attribute": named(right),
        "balanced_accuracy": float(np.nanmean(balanced)) if np.isfinite(balanced).any() else float("nan"),
        "balanced_accuracy_per_attribute": named(balanced),
        "share_per_attribute": named(shares),
    }


def _attributes(store: FaceStore, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Values (N, A) of attributes by name. Raises `UserError` when the dataset lacks one, or has none at all."""
    values, known = store.attributes(), store.attribute_names
    if values is None or (unknown := sorted(set(names) - set(known))):
        lacking = "attributes (columns attribute_<name>)" if values is None else f"{', '.join(unknown)}"
        raise UserError(
            f"{store.directory / 'index.csv'}: has no {lacking}, which this classifier is to learn. It has "
            f"{', '.join(known) or 'no attributes'}; train it on a dataset with them, such as celeba."
        )
    return values[:, [known.index(name) for name in names]].astype(np.int64)


def _all_rows(store: FaceStore, split: str) -> npt.NDArray[Any]:
    """All rows of a split. Raises `UserError` when there is none."""
    rows = store.rows(split)
    if not len(rows):
        raise UserError(f"{store.directory / 'index.csv'}: has no face of the split '{split}'.")
    return rows
