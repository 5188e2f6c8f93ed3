"""Pre-training of the face parsers of hier_seg (Bodur et al., section 3.1) on label maps.

Published and own settings side by side: docs/papers/hier_seg.md#segmenter-pre-training.

BiSeNet: OHEM cross-entropy (Shrivastava et al., CVPR 2016, in the form of the face parser's code: threshold 0.7, at
least a sixteenth of the pixels) on the main and both auxiliary heads; SGD with momentum, warm-up and polynomial decay,
ten times the learning rate on feature fusion and heads, no weight decay on biases and batch normalisation; colour
jitter, flips with left and right classes swapped by table, scales 0.75 to 2, random crops of 448 of 512 pixels.
U-Net: plain cross-entropy, Adam, no augmentation. `TRAINING` and `CONFIG` hold these schedules.
"""

import sys
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
from mimik.faces.prepared.store import FaceStore
from mimik.labels import IGNORED, SEGMENTATION_CLASSES
from mimik.mirror import find
from mimik.networks.bisenet import BiSeNet
from mimik.networks.segmenter import KIND, Segmenter, build, load
from mimik.pretraining import runs
from mimik.pretraining.augmentation import colour_jitter, scale_and_crop
from mimik.settings.configuration import build as build_config
from mimik.settings.external import is_external
from mimik.statistics.confusion import accuracy, confusion_matrix, intersection_over_union
from mimik.training.batches import Batch
from mimik.training.loop import Logger, Terms, Update

__all__ = ["SegmenterConfig", "SegmenterTask", "load", "pretrain_segmenter", "segmentation_confusion"]

TRAINING: Mapping[str, Mapping[str, Any]] = {
    "bisenet": {
        "steps": 80_000,
        "batch_size": 32,
        "learning_rate": 1e-2,
        "optimiser": "sgd",
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "poly",
        "warmup": 1000,
        "warmup_from": 1e-3,
        "flip": True,
    },
    "unet": {"steps": 1_000_000, "batch_size": 8, "learning_rate": 2e-4, "betas": (0.5, 0.999), "flip": False},
}
"""Published schedules, by network."""

CONFIG: Mapping[str, Mapping[str, Any]] = {
    "bisenet": {
        "jitter": 0.5,
        "scales": (0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
        "crop": 0.875,
        "ohem": True,
        "initial_weights": "imagenet",
    },
    "unet": {},
}
"""Published losses, augmentation and start, by network."""

IMAGENET = "imagenet"
"""The value of `SegmenterConfig.initial_weights` that stands for `RESNET18`, if it is there."""

RESNET18 = "resnet18-5c106cde.pth"
"""The file of ImageNet weights that the face parser's code starts from; the digits begin its SHA-256."""

WEIGHTS = Path("data/weights")
"""Where it is looked for, then in the mirror folder."""


@dataclass(frozen=True)
class SegmenterConfig:
    """Settings of one segmenter; those left out are as published for its network (`CONFIG`).

    Attributes:
        network: `bisenet`, `unet`, or the full name of a module of another package.
        fraction: fraction of the training faces that is used, chosen with the seed; smaller selections are subsets of
            larger ones (Bodur et al., figure 5).
        width: channels of the first layer; None as published (64 and 16).
        upscale: factor by which images are enlarged before the network (1; 2 for BiSeNet on faces of 64 px).
        ohem: train only on the hard pixels instead of all.
        class_balance: b in [0, 1]: pixels are weighted by the frequency of their class in the training masks to the
            power -b; 0 is the published loss. Short runs do not learn eyes and lips without it.
        jitter: strength of the colour jitter.
        scales: factors of the random enlargement.
        crop: side of the random crop as a fraction of the image's side.
        initial_weights: what the ResNet-18 of BiSeNet starts from: `imagenet`, the ImageNet weights
            resnet18-5c106cde.pth in data/weights or the mirror, as published; without this file, and with another
            width, BiSeNet starts from random weights, which is printed and stands in config.json. Or the path of
            another such file (.pth). None: random weights.
    """

    network: str = "bisenet"
    fraction: float = 1.0
    width: int | None = None
    upscale: int = 1
    ohem: bool = False
    class_balance: float = 0.0
    jitter: float = 0.0
    scales: tuple[float, ...] = (1.0,)
    crop: float = 1.0
    initial_weights: str | None = None

    def __post_init__(self) -> None:
        if self.network not in ("bisenet", "unet") and not is_external(self.network):
            raise ValueError(f"network must be bisenet, unet or PACKAGE.MODULE, not {self.network!r}")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be above 0 and at most 1, not {self.fraction}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must be above 0 and at most 1, not {self.crop}")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError("scales must be one or more numbers above 0")
        if not 0 <= self.class_balance <= 1:
            raise ValueError(f"class_balance must be in 0 to 1, not {self.class_balance}")
        if self.ohem and self.class_balance:
            raise ValueError("ohem and class_balance address the same problem: set only one of them")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be in 0 to 1, not {self.jitter}")
        if self.upscale < 1 or (self.width is not None and self.width < 1):
            raise ValueError("width and upscale must be at least 1")
        path = self.initial_weights if self.initial_weights != IMAGENET else None
        if path is not None and (self.network != "bisenet" or self.width is not None):
            raise ValueError("initial_weights is only for BiSeNet of the published width")


def cross_entropy(logits: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the pixels whose class is known; 0 when there is none.

    Args:
        logits: (B, C, H, W).
        truth: int64 (B, H, W), 255 where unknown.
        weights: (C,) of the classes in the weighted mean, or None.
    """
    losses = F.cross_entropy(logits.float(), truth, ignore_index=IGNORED, reduction="none")
    known = (truth != IGNORED).float()
    if weights is not None:
        known = known * weights[truth.clamp(max=len(weights) - 1)]
    return (losses * known).sum() / known.sum().clamp(min=1e-6)


def class_weights(masks: npt.NDArray[np.uint8], balance: float) -> Tensor:
    """Weights (19,) of the classes: frequency in `masks` to the power -balance, 1 on average over their pixels.

    Frequencies below 1e-4 count as 1e-4, so that a handful of pixels cannot rule the loss.
    """
    counts = np.bincount(masks[masks != IGNORED].ravel(), minlength=len(SEGMENTATION_CLASSES)).astype(np.float64)
    shares = counts / max(1.0, counts.sum())
    weights = np.maximum(shares, 1e-4) ** -balance
    return torch.from_numpy(weights / max(1e-12, (weights * shares).sum())).float()


def ohem_cross_entropy(logits: Tensor, truth: Tensor, threshold: float = 0.7, least: int | None = None) -> Tensor:
    """Mean cross-entropy over the hard pixels (online hard example mining).

    Hard are those whose true class has a probability below `threshold`; where these are no more than `least`, the
    `least` worst pixels instead. Unknown pixels are left out, also when fewer than `least` are known.

    Args:
        logits: (B, C, H, W).
        truth: int64 (B, H, W), 255 where unknown.
        threshold: probability.
        least: number of pixels; None: B * H * W / 16.
    """
    losses = F.cross_entropy(logits.float(), truth, ignore_index=IGNORED, reduction="none").flatten()
    least = losses.numel() // 16 if least is None else least
    hard = losses > -float(np.log(threshold))
    count, known = hard.sum(), (truth != IGNORED).sum()
    of_hard = (losses * hard).sum() / count.clamp(min=1)
    # Losses of unknown pixels are 0: they add nothing where fewer than `least` are known.
    of_worst = losses.topk(min(least, losses.numel())).values.sum() / known.clamp(min=1, max=max(1, least))
    return torch.where(count > least, of_hard, of_worst)


class SegmenterTask(nn.Module):
    """A segmenter under supervision by label maps."""

    updates: Sequence[Update] = (Update("segmenter"),)
    reads = frozenset({"mask"})
    averaged: nn.Module | None = None
    weights: Tensor | None

    def __init__(self, segmenter: Segmenter, config: SegmenterConfig, weights: Tensor | None = None) -> None:
        """Wrap a segmenter; `weights` (19,) are those of the classes, see `class_weights`."""
        super().__init__()
        self.segmenter = segmenter
        self.config = config
        self.register_buffer("weights", weights, persistent=False)

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean."""
        return [self.segmenter.network]

    def segmenter_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Sum over the heads of the (OHEM) cross-entropy on the augmented batch."""
        config = self.config
        images, masks = scale_and_crop(batch["image"], batch["mask"], config.scales, config.crop)
        images = colour_jitter(images, config.jitter)
        heads = self.segmenter.all_logits(images)
        if config.ohem:
            losses = [ohem_cross_entropy(logits, masks) for logits in heads]
        else:
            losses = [cross_entropy(logits, masks, self.weights) for logits in heads]
        total = torch.stack(losses).sum()
        terms = {name: loss.detach() for name, loss in zip(("main", "aux16", "aux32"), losses, strict=False)}
        return total, terms

    def segmenter_parameters(self) -> list[dict[str, Any]]:
        """Groups by learning rate (fusion and heads of BiSeNet: ten times) and by weight decay (none on vectors)."""
        network = self.segmenter.network
        fast = network.fast_modules() if isinstance(network, BiSeNet) else []
        fast_ids = {id(parameter) for module in fast for parameter in module.parameters()}
        groups: list[dict[str, Any]] = []
        for factor in (1.0, 10.0):
            for decayed in (True, False):
                chosen = [
                    p for p in network.parameters() if (id(p) in fast_ids) == (factor > 1) and (p.ndim > 1) == decayed
                ]
                if chosen:
                    group: dict[str, Any] = {"params": chosen, "learning_rate": factor}
                    groups.append(group if decayed else {**group, "weight_decay": 0.0})
        return groups


def nested_fraction(rows: npt.NDArray[Any], fraction: float, seed: int) -> npt.NDArray[Any]:
    """A random part of `rows`, ascending, at least one; under one seed smaller fractions are subsets of larger ones."""
    order = np.random.default_rng(np.random.SeedSequence((seed, 0x5E6))).permutation(rows)
    part: npt.NDArray[Any] = np.sort(order[: max(1, round(fraction * len(rows)))])
    return part


@torch.no_grad()
def segmentation_confusion(segmenter: Segmenter, store: FaceStore, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Confusion of all known pixels of `rows`, int64 (19, 19), rows the truth; the segmenter is put into eval mode.

    Raises:
        UserError: the store has no masks.
    """
    if store.masks is None:
        raise UserError(f"{store.directory}: has no masks_{store.size}.npy; add `masks` to the dataset's annotations.")
    classes = len(SEGMENTATION_CLASSES)
    device = next(segmenter.parameters()).device
    segmenter.eval()
    total = np.zeros((classes, classes), np.int64)
    for part, images in runs.image_batches(store, rows, device):
        predicted = segmenter(images).argmax(1).cpu().numpy()
        total += confusion_matrix(predicted, store.masks[part], classes, IGNORED)
    return total


def segmentation_metrics(segmenter: Segmenter, store: FaceStore) -> dict[str, Any]:
    """What metrics.json holds of a segmenter, measured on the test split, see `pretrain_segmenter`.

    Raises:
        UserError: the store has no masks, or no test faces.
    """
    rows = store.rows("test")
    confusion = segmentation_confusion(segmenter, store, rows)
    mean, per_class = intersection_over_union(confusion)
    return {
        "split": "test",
        "images": len(rows),
        "miou": mean,
        "iou_per_class": dict(zip(SEGMENTATION_CLASSES, per_class.tolist(), strict=True)),
        "pixel_accuracy": accuracy(confusion),
        "confusion": confusion.tolist(),
    }


def pretrain_segmenter(
    settings: Mapping[str, Any],
    store_dir: Path | str,
    output_dir: Path | str,
    checkpoint_dir: Path | str,
    logger: Logger | None = None,
) -> None:
    """Train a segmenter on the label maps of the train split and measure it on the test split.

    Writes model.safetensors, config.json, history.csv and metrics.json (`miou`, `iou_per_class`, `pixel_accuracy`,
    `confusion`): one confusion over all pixels of the test split, the mean over the classes that occur.

    Args:
        settings: `dataset`, `name`, `seed`, `image_size`, `config` (see `SegmenterConfig`), `training` (overrides of
            the published schedule), optionally `mirror` (folder that is searched for ResNet-18's weights after
            data/weights); further entries are recorded only.
        store_dir: the prepared dataset, with masks.
        output_dir, checkpoint_dir: where results and the run's state go.
        logger: mirror of the losses.

    Raises:
        UserError: settings that do not fit, a missing file, a store without masks, a diverging run.
    """
    where = f"segmenters.{settings['name']}"
    network_name = settings["config"].get("network", "bisenet")
    config = build_config(SegmenterConfig, {**CONFIG.get(network_name, {}), **settings["config"]}, where)
    training = runs.training_config(runs.published(TRAINING, config.network, where), settings, where)
    store = FaceStore(store_dir, settings["image_size"])
    rows = nested_fraction(store.rows("train"), config.fraction, settings["seed"])
    store.rows("test")  # refuses a dataset without any before the training
    torch.manual_seed(settings["seed"])
    segmenter = build({"image_size": store.size, **runs.plain(config)})
    start = _initialise(segmenter.network, config, settings.get("mirror"), where)
    resolved = {**runs.plain(config), "initial_weights": start}
    weights = None
    if config.class_balance and store.masks is not None:
        # Some two thousand masks give the frequencies as well as all of them, in bounded memory.
        weights = class_weights(store.masks[rows[:: max(1, len(rows) // 2000)]], config.class_balance)
    task = SegmenterTask(segmenter, config, weights)
    history = runs.fit(task, store, rows, training, settings, resolved, checkpoint_dir, logger)
    if not runs.is_first_process():
        return
    metrics = segmentation_metrics(segmenter, store)
    record = {
        "kind": KIND,
        "name": settings["name"],
        "dataset": settings["dataset"],
        "seed": settings["seed"],
        "image_size": store.size,
        "architecture": segmenter.settings,
        "normalisation": segmenter.normalisation,
        "classes": list(SEGMENTATION_CLASSES),
        "config": resolved,
        "training": runs.plain(training),
        "training_images": len(rows),
        "dataset_digest": store.digest,
    }
    runs.write_results(output_dir, checkpoint_dir, segmenter, record, history, metrics)


def _initialise(network: nn.Module, config: SegmenterConfig, mirror: str | None, where: str) -> str:
    """Load the weights that BiSeNet starts from, if any. Returns their SHA-256, or "random".

    Raises:
        UserError: a file that is named is missing, or one is not what it should be.
    """
    path = config.initial_weights
    if path is None or not isinstance(network, BiSeNet) or config.width is not None:
        return "random"
    expected = ""
    if path == IMAGENET:
        found = find(RESNET18, mirror, WEIGHTS)
        if found is None:
            print(
                f"{where}: {RESNET18} is neither in {WEIGHTS} nor in a mirror folder, so BiSeNet starts from random "
                "weights and not, as published, from those of ImageNet.",
                file=sys.stderr,
            )
            return "random"
        path, expected = str(found), RESNET18.removesuffix(".pth").rpartition("-")[2]
    state, start = runs.read_initial_weights(path, where)
    if not start.startswith(expected):
        raise UserError(f"{path}: its SHA-256 is {start}, which does not begin with {expected}. Get the file again.")
    _load_backbone(network, state, path)
    return start


def _load_backbone(network: BiSeNet, state: Mapping[str, Tensor], path: str) -> None:
    try:
        network.context.resnet.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    except RuntimeError as error:
        raise UserError(f"{path}: not the weights of ResNet-18 ({error}).") from error
