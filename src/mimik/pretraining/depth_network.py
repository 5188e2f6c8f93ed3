"""Pre-training of the depth network (Bodur, Bhattarai, Kim, WACV 2021, section 3.2) on faces with true maps.

Real faces I_s with true maps d_s and expressions y_s; G_depth and D_depth as in `mimik.guidance.depth`. With the signs
put right and the label of an untouched face, which Eq. 11 prints as y_t, to be minimised:

    D_depth:  E[D(G(I_s))] - E[D(d_s)] + 10 GP + lambda_cls [CE(D_cls(d_s), y_s) - beta (H(d_s) + H(G(I_s)))]
    G_depth:  -E[D(G(I_s))] + lambda_cls CE(D_cls(G(I_s)), y_s) + lambda_rec |I_s - G'(G(I_s))|_1       Eq. 8
              + lambda_pix |d_s - G(I_s)|_1 + lambda_per sum_l |V_l(d_s) - V_l(G(I_s))|_1               Eq. 9, 10

V is VGG-19 with ImageNet weights, which have to be supplied; without them the perceptual term is off, if that is
asked for (`perceptual: none`). lambda_pix 10, lambda_per 1, beta 0.1 and the layers of V are ours, as the paper prints
none. Its 200K iterations are those of D, five per step of the loop.

The learning rate is published as "0.0001 and decay it in every 1000 epochs": how often it falls, not from when and by
how much. Its epochs are iterations, and 1000 iterations between two changes are StarGAN's, whose schedule is therefore
taken: constant, then linearly to 0 over the last 100K iterations. Here it falls at every step of the loop, so that it
is never more than one hundredth of 1e-4 below that staircase (docs/papers/depth_guided.md#learning-rate).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mimik import mirror
from mimik.components import budget, losses
from mimik.components.adversary import Adversary, AdversaryConfig
from mimik.components.budget import Rounds
from mimik.components.conditions import Condition, ConditionConfig
from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.networks import vgg19
from mimik.networks.depth_network import KIND, DepthNetwork, Domains, Geometry, build, load
from mimik.networks.stargan import Stem
from mimik.pretraining import runs
from mimik.settings.configuration import build as build_config
from mimik.storage.files import file_sha256
from mimik.training.batches import Batch
from mimik.training.loop import Logger, Terms
from mimik.training.schedule import Update, critic_and_generator

__all__ = ["DepthNetworkConfig", "DepthNetworkTask", "load", "map_errors", "pretrain_depth_network"]

TRAINING: Mapping[str, Any] = {
    "steps": 40_000,
    "batch_size": 15,
    "learning_rate": 1e-4,
    "betas": (0.5, 0.999),
    "schedule": "linear",
    "decay_start": 0.5,
}
"""The published schedule; what it says of the learning rate is in the module's docstring."""

WEIGHTS = Path("data/weights")
"""Where VGG-19's weights are looked for, then in the mirror folder."""


@dataclass(frozen=True)
class DepthNetworkConfig(Rounds):
    """Settings; the defaults are those of docs/papers/depth_guided.md#schedule-and-weights, where the
    paper prints only some.

    Attributes:
        network: `depth_network`, the only choice.
        geometry: content of the maps.
        domains: `two_way`: one network for both directions; `one_way`: without G'_depth and L_rec.
        conv_dim, residual_blocks, stem: of the generator, see `mimik.networks.stargan.Generator`.
        lambda_reconstruction: weight of L_rec.
        lambda_pixel: weight of the distance to the true map.
        lambda_perceptual: weight of the perceptual term.
        confidence_penalty: beta (0: none).
        perceptual: `vgg19`, or `none`: no perceptual term.
        perceptual_layers: layers whose features are compared, from `mimik.networks.vgg19.LAYERS`.
        adversary: settings of D_depth.
    """

    network: Literal["depth_network"] = "depth_network"
    geometry: Geometry = "depth"
    domains: Domains = "two_way"
    conv_dim: int = 64
    residual_blocks: int = 6
    stem: Stem = "conv"
    lambda_reconstruction: float = 10.0
    lambda_pixel: float = 10.0
    lambda_perceptual: float = 1.0
    confidence_penalty: float = 0.1
    perceptual: Literal["vgg19", "none"] = "vgg19"
    perceptual_layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        super().__post_init__()
        weights = (self.lambda_reconstruction, self.lambda_pixel, self.lambda_perceptual, self.confidence_penalty)
        if min(weights) < 0:
            raise ValueError("the lambdas and confidence_penalty must not be negative")
        if self.perceptual == "vgg19" and (
            not self.perceptual_layers or set(self.perceptual_layers) - set(vgg19.LAYERS)
        ):
            raise ValueError(f"perceptual_layers must be one or more of {', '.join(vgg19.LAYERS)}")


class DepthNetworkTask(nn.Module):
    """G_depth and D_depth on real faces, for the training loop."""

    averaged: nn.Module | None = None

    def __init__(
        self, network: DepthNetwork, config: DepthNetworkConfig, adversary: Adversary, vgg: vgg19.VGG19 | None
    ) -> None:
        """Put together what is trained; `vgg` is frozen, None without the perceptual term."""
        super().__init__()
        self.network, self.config, self.adversary = network, config, adversary
        # In a list, so that the checkpoint does not hold weights that nobody trains.
        self._vgg = [] if vgg is None else [vgg]
        self.updates: Sequence[Update] = critic_and_generator(config)
        self.reads: frozenset[str] = frozenset({"label", network.geometry})

    def _apply(self, *arguments: Any, **settings: Any) -> "DepthNetworkTask":
        """Like `nn.Module._apply`, which moves a module: VGG-19 comes along to the device."""
        super()._apply(*arguments, **settings)
        for vgg in self._vgg:
            vgg.to(next(self.network.parameters()).device)
        return self

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean."""
        return [self.network.generator]

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """D_depth."""
        return [{"params": list(self.adversary.parameters()), "learning_rate": self.config.adversary.learning_rate}]

    def generator_parameters(self) -> list[dict[str, Any]]:
        """G_depth, both directions."""
        return [{"params": list(self.network.parameters())}]

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """First line. See `mimik.components.adversary.Adversary.discriminator_loss` for the terms."""
        state, truth = self._states(batch), self.network.true_maps(batch)
        fake = budget.fake(self.config, batch, step, lambda: self.network.to_maps(batch["image"]))
        return self.adversary.discriminator_loss(truth, fake, state, state, step)

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Second and third line: terms `adv`, `cls`, `rec`, `pix`, `per` (and `match` where switched on)."""
        config, network, image = self.config, self.network, batch["image"]
        truth = network.true_maps(batch)
        maps = network.to_maps(image)
        batch["edited"] = maps
        total, terms = self.adversary.generator_loss(maps, self._states(batch))
        if network.two_way:
            terms["rec"] = losses.reconstruction(image, network.to_images(maps)).mean()
            total = total + config.lambda_reconstruction * terms["rec"]
        terms["pix"] = losses.reconstruction(truth, maps).mean()
        total = total + config.lambda_pixel * terms["pix"]
        for vgg in self._vgg:
            terms["per"] = perceptual(vgg, truth, maps)
            total = total + config.lambda_perceptual * terms["per"]
        return total, terms

    def _states(self, batch: Batch) -> Tensor:
        states: Tensor = nn.functional.one_hot(batch["label"], self.adversary.network.classes).float()
        return states


def perceptual(vgg: vgg19.VGG19, truth: Tensor, maps: Tensor) -> Tensor:
    """Eq. 10: mean absolute difference of the features of two batches (B, 3, H, W), summed over the layers."""
    with torch.no_grad():
        wanted = vgg(truth)
    differences = [(a.float() - b.float()).abs().mean() for a, b in zip(wanted, vgg(maps), strict=True)]
    return torch.stack(differences).sum()


def map_errors(geometry: Geometry, predicted: npt.NDArray[Any], truth: npt.NDArray[np.uint8]) -> dict[str, float]:
    """How far maps are from the true ones.

    Args:
        geometry: `depth` or `normals`.
        predicted: float (N, H, W, 3) in [0, 1], or (1, H, W, 3) for all the same.
        truth: uint8 (N, H, W) or (N, H, W, 3) as stored, 0 where there is no surface.

    Returns:
        `mae` over all pixels and `mae_surface` over those that show a surface, in units of the whole range of values
        (depth: mean of the channels; normals: all three); for depth `rmse_surface`, for normals `angle_surface`, the
        mean angle in degrees between the two directions.

    Raises:
        ValueError: a face has no map, that is, no surface anywhere.
    """
    surface = truth > 0 if geometry == "depth" else truth.any(-1)
    if not surface.any((1, 2)).all():
        raise ValueError("errors of a map can only be measured on faces that have one")
    predicted = np.broadcast_to(predicted.mean(-1) if geometry == "depth" else predicted, truth.shape)
    wanted = truth.astype(np.float64) / 255
    errors = np.abs(predicted - wanted)
    result = {"mae": float(errors.mean()), "mae_surface": float(errors[surface].mean())}
    if geometry == "depth":
        return {**result, "rmse_surface": float(np.sqrt(np.square(errors[surface]).mean()))}
    first, second = (2 * values[surface] - 1 for values in (predicted, wanted))
    length = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = (first * second).sum(1) / np.maximum(length, 1e-9)
    return {**result, "angle_surface": float(np.degrees(np.arccos(cosine.clip(-1, 1))).mean())}


def pretrain_depth_network(
    settings: Mapping[str, Any],
    store_dir: Path | str,
    output_dir: Path | str,
    checkpoint_dir: Path | str,
    logger: Logger | None = None,
) -> None:
    """Train a depth network on the true maps of the train split and measure it on those of the test split.

    Writes model.safetensors (G_depth and D_depth), config.json, history.csv and metrics.json (see `map_errors` and
    `measured_faces`; beside it, as `mean_map`, the errors of giving every face the mean map of the training faces).

    Args:
        settings: `dataset`, `name`, `seed`, `image_size`, `config` (see `DepthNetworkConfig`), `training` (overrides
            of the published schedule), optionally `mirror` (folder that is searched for VGG-19's weights after
            data/weights); further entries are recorded only.
        store_dir: the prepared dataset, with depth or normals.
        output_dir, checkpoint_dir: where results and the run's state go.
        logger: mirror of the losses.

    Raises:
        UserError: settings that do not fit, a missing file, a store without the maps or with none to measure on, a
            diverging run.
    """
    where = f"depth_networks.{settings['name']}"
    config = build_config(DepthNetworkConfig, settings["config"], where)
    training = runs.training_config(TRAINING, settings, where)
    store = FaceStore(store_dir, settings["image_size"])
    vgg, vgg_sha256 = _vgg(config, settings.get("mirror"), where)
    rows = store.training_rows()
    truth: Any = store.depth if config.geometry == "depth" else store.normals
    split, measured = ("", rows[:0]) if truth is None else measured_faces(store, truth)
    torch.manual_seed(settings["seed"])
    network = build(vars(config))
    try:
        adversary = Adversary(
            config.adversary,
            store.size,
            Condition(ConditionConfig(), store.classes),
            confidence_penalty=config.confidence_penalty,
            colours=False,
        )
    except ValueError as error:
        raise UserError(f"{where}.adversary: {error}.") from error
    resolved = {
        **runs.plain(config),
        "perceptual_sha256": vgg_sha256,
    }
    task = DepthNetworkTask(network, config, adversary, vgg)
    history = runs.fit(task, store, rows, training, settings, resolved, checkpoint_dir, logger)
    if not runs.is_first_process():
        return
    sample = rows[:: max(1, len(rows) // 2000)]  # some two thousand faces give the mean as well as all, in less memory
    metrics = {
        "split": split,
        "images": len(measured),
        **map_errors(config.geometry, _predict(network, store, measured), truth[measured]),
        "mean_map": map_errors(config.geometry, _mean_map(truth[sample]), truth[measured]),
    }
    network.critic = adversary.network
    shape = ("conv_dim", "layers", "max_conv_dim", "negative_slope", "initialisation")
    record = {
        "kind": KIND,
        "name": settings["name"],
        "dataset": settings["dataset"],
        "seed": settings["seed"],
        "image_size": store.size,
        "architecture": network.settings,
        "critic": {
            "image_size": store.size,
            "classes": adversary.network.classes,
            "matching": adversary.network.matching,
            **{name: getattr(config.adversary, name) for name in shape},
        },
        "classes": store.classes,
        "config": resolved,
        "training": runs.plain(training),
        "training_images": len(rows),
        "dataset_digest": store.digest,
    }
    runs.write_results(output_dir, checkpoint_dir, network, record, history, metrics)


def measured_faces(store: FaceStore, truth: npt.NDArray[np.uint8]) -> tuple[str, npt.NDArray[Any]]:
    """The split and the rows of the faces that a depth network is measured on: those of the test split with a map.

    Where none of them has one, as of AffectNet-D, whose test images have no released maps, those of `val`.

    Args:
        store: the prepared dataset.
        truth: its maps, uint8 (N, S, S) or (N, S, S, 3), 0 where there is no surface.

    Raises:
        UserError: no face of either split has a map.
    """
    for split in ("test", "val"):
        rows = store.rows(split)
        mapped = np.array([bool(truth[row].any()) for row in rows], dtype=bool)
        if mapped.any():
            return split, rows[mapped]
    raise UserError(
        f"{store.directory}: no face of the splits 'test' and 'val' has a map to measure a depth network on. Prepare "
        "the dataset again with maps of some of them."
    )


def _vgg(config: DepthNetworkConfig, folder: str | None, where: str) -> tuple[vgg19.VGG19 | None, str | None]:
    """VGG-19 and the SHA-256 of its weights; nothing where the perceptual term is off."""
    if config.perceptual == "none":
        return None, None
    path = mirror.find(vgg19.WEIGHTS, folder, WEIGHTS)
    if path is None:
        raise UserError(
            f"{where}: the perceptual loss needs VGG-19's ImageNet weights. Put {vgg19.WEIGHTS} into {WEIGHTS} or the "
            f"mirror folder (download: {vgg19.URL}), or set `perceptual: none` to train without this loss."
        )
    return vgg19.load(path, config.perceptual_layers), file_sha256(path)


@torch.no_grad()
def _predict(network: DepthNetwork, store: FaceStore, rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Maps (N, H, W, 3) in [0, 1]."""
    device = next(network.parameters()).device
    network.eval()
    maps = [
        network.to_maps(images).permute(0, 2, 3, 1).cpu().numpy()
        for _, images in runs.image_batches(store, rows, device)
    ]
    result: npt.NDArray[np.float64] = (np.concatenate(maps).astype(np.float64) + 1) / 2
    return result


def _mean_map(truth: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The mean (1, H, W, 3) in [0, 1] of stored maps, over the faces with a surface there; 0 where most have none."""
    values = truth if truth.ndim == 4 else np.repeat(truth[..., None], 3, -1)
    count = values.any(-1).sum(0)[..., None]
    mean = values.sum(0, dtype=np.float64) / 255 / np.maximum(count, 1)
    mean[2 * count[..., 0] <= len(values)] = 0.0
    result: npt.NDArray[np.float64] = mean[None]
    return result
