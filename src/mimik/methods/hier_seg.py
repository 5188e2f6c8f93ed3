"""hier_seg: semantic segmentation and hierarchical GANs in one (Bodur, Bhattarai, Kim 2021; docs/papers/hier_seg.md).

A face parser S cuts the input into disjoint free-shape parts (section 3.1); every part has its own small conditional
GAN, the whole face a global one, and a fusion network makes the result from both (section 3.2). A sharp softmax
instead of argmax lets the losses of the local GANs and of the fusion reach S. Equations, with signs put right:

    M = softmax(phi S(x))                         Eq. 1   phi multiplies the logits
    x_p = M_p * x                                 Eq. 2   M_p: summed probabilities of the part's classes
    t_p = G_p(crop(x_p), y_t)                     Eq. 3
    x_f = cat(G_global(x, y_t), stitch(t_p))      Eq. 4;  result x_t = G_fusion(x_f)
    L_adv, L_cls, L_rec per p in {global, fusion, parts}   Eq. 5 to 7
    L_G = sum_p lambda_p (L_adv + L_cls + 10 L_rec)        Eq. 8; the parts share lambda_local

Choices where the paper is silent (each a setting): WGAN-GP and StarGAN's weights, since it names StarGAN; phi 10;
black background; margins and least sizes of boxes, which specks apart from a part do not stretch; missing parts are
skipped by a validity weight; targets of the parts' reconstruction and the discriminators' real parts are detached from
S, or an empty mask would win; L_rec of the fusion sends x_t through the whole pipeline with y_s
(`fusion_reconstruction: composed` fuses the cycled global and local images instead, which teaches x_t nothing: 151
instead of 204 GMAC forward at 256 px).
"""

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.components import budget, face_parts, losses
from mimik.components.adversary import Adversary, AdversaryConfig, Terms, part_mean
from mimik.components.budget import LazyReconstruction, OutputHead, Rounds
from mimik.components.context import Context, load_stored_state, stored_state
from mimik.components.face_parts import Combination, MaskSpace
from mimik.labels import PARTS
from mimik.networks.fusion import Fusion
from mimik.networks.slices import Slices
from mimik.networks.stargan import Generator, Stem
from mimik.training.batches import Batch
from mimik.training.schedule import Update, critic_and_generator

TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "steps": 40_000,  # the paper's "200K epochs" are iterations of D, five per step
        "batch_size": 8,
        "learning_rate": 1e-4,
        "betas": (0.5, 0.999),
        "schedule": "linear",
        "decay_start": 0.5,
    }
)
"""The published schedule, as overrides of `mimik.training.loop.TrainingConfig`."""

CONDITION: Mapping[str, Any] = MappingProxyType({})
"""The generator's condition unless params.yaml sets another: target labels, the default of `ConditionConfig`."""

RECTANGLES: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "left_eye": (0.365, 0.375, 56 / 256, 40 / 256),
        "right_eye": (0.635, 0.375, 56 / 256, 40 / 256),
        "nose": (0.5, 0.53, 48 / 256, 48 / 256),
        "mouth": (0.5, 0.70, 64 / 256, 40 / 256),
    }
)
"""Centre and size (fractions of the side) of APDrawing's rectangles, for a face without a visible part to centre on."""


@dataclass(frozen=True)
class Config(Rounds, LazyReconstruction, OutputHead):
    """Settings; the defaults are the published ones where the paper gives them.

    Attributes:
        extract: `segmentation`, or `rectangles` of fixed size around the parts' centres (APDrawing, EF-GAN).
        end_to_end: let gradients reach the segmenter and train it.
        phi: inverse temperature of the softmax.
        parts: parts that have a GAN.
        mask_space: background of masked parts, see `mimik.components.face_parts.cut`.
        combine: how parts are stitched.
        local_size: side of the local GANs' images.
        margin: margin of a part's box around the part, in pixels of a 256 px image.
        least_side: minimum side of that box, in pixels of a 256 px image.
        least_area: minimum number of pixels of a part, in a 256 px image, for it to count as visible.
        least_share: pixels apart from the rest of a part do not count for its box if they hold less than this share of
            it, see `mimik.components.face_parts.without_specks`; 0: all count.
        lambda_global: weight of the global GAN in Eq. 8.
        lambda_local: weight of the parts' GANs in Eq. 8.
        lambda_fusion: weight of the fusion network's GAN in Eq. 8.
        lambda_reconstruction: weight of L_rec within every bracket of Eq. 8.
        fusion_reconstruction: `full` sends the result back through the whole pipeline, `composed` fuses the other two
            cycles.
        segmenter_learning_rate: factor on the run's learning rate for the segmenter.
        segmenter_every: let gradients reach the segmenter only every this many steps.
        segmenter_batch_norm: `frozen` running statistics (a batch of another domain would shift them) or `train`.
        segmenter_anchor: weight of the divergence from the pre-trained segmenter (0: none, as published).
        conv_dim, residual_blocks: of the global generator, see `mimik.networks.stargan.Generator`.
        local_conv_dim, local_residual_blocks: of the parts' generators, see `mimik.networks.stargan.Generator`.
        fusion_conv_dim: width of the fusion network; fusion_residual_blocks: number of its residual blocks.
        stem: of the generators, see `mimik.networks.stargan.Generator`.
        adversary: settings of the global and the fusion discriminator.
        local_adversary: settings of the parts' discriminators.
    """

    extract: Literal["segmentation", "rectangles"] = "segmentation"
    end_to_end: bool = True
    phi: float = 10.0
    parts: tuple[str, ...] = tuple(PARTS)
    mask_space: MaskSpace = "unit"
    combine: Combination = "max"
    local_size: int = 64
    margin: float = 4.0
    least_side: float = 16.0
    least_area: float = 25.0
    least_share: float = 0.05
    lambda_global: float = 0.2
    lambda_local: float = 0.3
    lambda_fusion: float = 0.5
    lambda_reconstruction: float = 10.0
    fusion_reconstruction: Literal["composed", "full"] = "full"
    segmenter_learning_rate: float = 1.0
    segmenter_every: int = 1
    segmenter_batch_norm: Literal["frozen", "train"] = "frozen"
    segmenter_anchor: float = 0.0
    conv_dim: int = 64
    residual_blocks: int = 6
    local_conv_dim: int = 64
    local_residual_blocks: int = 6
    fusion_conv_dim: int = 64
    fusion_residual_blocks: int = 4
    stem: Stem = "conv"
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    local_adversary: AdversaryConfig = field(default_factory=lambda: AdversaryConfig(layers=5))

    def __post_init__(self) -> None:
        """Refuse combinations that make no sense."""
        super().__post_init__()
        unknown = set(self.parts) - set(PARTS)
        if unknown or not self.parts or len(set(self.parts)) < len(self.parts):
            raise ValueError(f"parts must be a list of distinct names from {', '.join(PARTS)}")
        if self.extract == "rectangles" and self.end_to_end:
            raise ValueError("rectangles carry no gradient to a segmenter; set end_to_end: false")
        if self.segmenter_every < 1:
            raise ValueError("segmenter_every must be at least 1")
        if not 0 <= self.least_share <= 1:
            raise ValueError("least_share must be a share of a part's pixels, from 0 to 1")
        if self.phi <= 0:
            raise ValueError("phi must be positive")


@dataclass(frozen=True)
class Cut:
    """The result of steps 1 to 8 of the data flow for a batch of faces.

    Attributes:
        masks: M_p, (B, P, H, W) in [0, 1].
        crops: (B, P*3, s, s) in [-1, 1].
        boxes: (B, P, 4) pixels.
        valid: (B, P), 1 where the part is visible.
        logits: of the segmenter, (B, 19, H, W); None without one.
    """

    masks: Tensor
    crops: Tensor
    boxes: Tensor
    valid: Tensor
    logits: Tensor | None


class Method(nn.Module):
    """hier_seg as a task for the training loop and as a translator."""

    def __init__(self, config: Config, context: Context) -> None:
        """Build the networks around a pre-trained segmenter: images (B, 3, H, W) in [-1, 1] -> logits (B, 19, H, W).

        Raises:
            ValueError: no segmenter was given.
        """
        super().__init__()
        segmenter = context.needed("segmenter", "hier_seg")
        self.config, self.condition, self.image_size = config, context.condition, context.image_size
        self.reads = self.condition.reads | config.reads
        states, image_size = self.condition.dim, context.image_size
        count = len(config.parts)
        self.generator: Any = nn.ModuleDict(
            {
                "global": Generator(
                    states,
                    conv_dim=config.conv_dim,
                    residual_blocks=config.residual_blocks,
                    head=config.head,
                    stem=config.stem,
                ),
                # Four networks of equal shape as one grouped network: one call instead of four.
                "local": Generator(
                    states,
                    conv_dim=config.local_conv_dim,
                    residual_blocks=config.local_residual_blocks,
                    parts=count,
                    head=config.head,
                    stem=config.stem,
                ),
                "fusion": Fusion(config.fusion_conv_dim, config.fusion_residual_blocks, config.head),
                "segmenter": segmenter,
            }
        )
        self.generator.register_load_state_dict_pre_hook(_global_for_whole)
        self.discriminator: Any = nn.ModuleDict(
            {
                "global": Adversary(config.adversary, image_size, self.condition),
                "fusion": Adversary(config.adversary, image_size, self.condition),
                "local": Adversary(config.local_adversary, config.local_size, self.condition, count),
            }
        )
        translators: Any = self.generator["local"]
        critics: Any = self.discriminator["local"]
        translators.part_names = critics.network.part_names = config.parts
        scale = image_size / 256
        self.margin, self.least_side = config.margin * scale, config.least_side * scale
        self.least_area = max(2.0, config.least_area * scale**2)
        typical = torch.tensor([RECTANGLES[part] for part in config.parts]) * image_size
        centre, extent = typical[:, :2], typical[:, 2:]
        self.register_buffer("mean_boxes", torch.cat([centre - extent / 2, centre + extent / 2], 1))
        self.register_buffer("extent", extent, persistent=False)
        self.mean_boxes: Tensor
        self.extent: Tensor
        self.anchor = copy.deepcopy(segmenter).requires_grad_(False).eval() if config.segmenter_anchor else None
        self.updates: Sequence[Update] = critic_and_generator(config)
        if not config.end_to_end:
            segmenter.requires_grad_(False)

    @property
    def segmenter(self) -> nn.Module:
        """The segmenter, trained end to end or frozen."""
        segmenter: nn.Module = self.generator["segmenter"]
        return segmenter

    @property
    def handed(self) -> tuple[str, ...]:
        """What another training takes over: a segmenter that is not trained stays the one that was named."""
        trained = ("global", "local", "fusion", *(["segmenter"] if self.config.end_to_end else []))
        return (*(f"generator.{name}" for name in trained), "discriminator", "mean_boxes")

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: one mean box for every part, in pixels of an image of this size."""
        return {"mean_boxes": {0: [(part, self.image_size) for part in self.config.parts]}}

    @property
    def averaged(self) -> nn.Module:
        """All that a translation needs."""
        everything: nn.Module = self.generator
        return everything

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean: the layers, not called as one network."""
        return [*self.generator["global"].layers, *self.generator["local"].layers, self.generator["fusion"].body]

    def train(self, mode: bool = True) -> "Method":
        """Like `nn.Module.train`; the segmenter's batch norm stays in evaluation mode unless it is to be trained."""
        super().train(mode)
        if self.config.segmenter_batch_norm == "frozen" or not self.config.end_to_end:
            self.segmenter.eval()
        if self.anchor is not None:
            self.anchor.eval()
        return self

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update: all six discriminators."""
        return [group for adversary in self.discriminator.values() for group in adversary.parameter_groups()]

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update: G_global, the local G, G_fusion and, end to end, S (Eq. 9)."""
        nets = [self.generator[name] for name in ("global", "local", "fusion")]
        groups: list[dict[str, Any]] = [{"params": [p for net in nets for p in net.parameters()]}]
        if self.config.end_to_end:
            parameters = list(self.segmenter.parameters())
            groups.append({"params": parameters, "learning_rate": self.config.segmenter_learning_rate})
        return groups

    # Data flow -------------------------------------------------------------------------------------------------------

    def cut(self, images: Tensor, end_to_end: bool = True, real: bool = True) -> Cut:
        """Steps 1 to 8: parts of faces (B, 3, H, W) in [-1, 1], cropped and resized.

        Without `end_to_end` (or with a frozen segmenter) no gradient reaches the segmenter. Only the boxes of `real`
        faces move the running means.
        """
        config = self.config
        with torch.set_grad_enabled(torch.is_grad_enabled() and config.end_to_end and end_to_end):
            logits = _parse(self.segmenter, images)
            masks = face_parts.part_masks(logits, config.phi, config.parts)
        with torch.no_grad():
            hard = face_parts.hard_part_masks(logits.argmax(1), config.parts)
            valid = (hard.sum((2, 3)) >= self.least_area).float()
            hard = face_parts.without_specks(hard, config.least_share)
            boxes = self._boxes(face_parts.tight_boxes(hard), valid, real and self.training)
        if config.extract == "rectangles":
            masks = torch.ones_like(masks)
        crops = face_parts.cut(images, masks, boxes, config.local_size, config.mask_space).flatten(1, 2)
        return Cut(masks, crops, boxes, valid, logits)

    def _boxes(self, tight: Tensor, valid: Tensor, learn: bool) -> Tensor:
        """Step 7: boxes with margin; where a part is missing, the running mean box of that part."""
        if learn:
            seen = valid[:, :, None]
            mean = (torch.nan_to_num(tight) * seen).sum(0) / seen.sum(0).clamp(min=1)
            # A part that no face shows moves nothing: its weight is 0, its mean finite.
            weight = 0.01 * (seen.sum(0) > 0)
            self.mean_boxes.lerp_(mean, weight)
        boxes = torch.where(valid[:, :, None] > 0, tight, self.mean_boxes)
        if self.config.extract == "segmentation":
            return face_parts.grow_boxes(boxes, self.margin, self.least_side, self.image_size)
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2
        fixed = torch.cat([centre - self.extent / 2, centre + self.extent / 2], 2)
        return face_parts.grow_boxes(fixed, 0.0, 0.0, self.image_size)

    def stitch(self, crops: Tensor, cut: Cut) -> Tensor:
        """Steps 11 and 12: translated crops (B, P*3, s, s) back in place -> (B, 3, H, W); missing parts stay out."""
        config = self.config
        parts = crops.unflatten(1, (len(config.parts), 3))
        return face_parts.stitch(parts, cut.valid, cut.boxes, self.image_size, config.combine, config.mask_space)

    def run(self, images: Tensor, condition: Tensor, end_to_end: bool = True, real: bool = True) -> dict[str, Any]:
        """Steps 1 to 15: everything that a translation passes through, by name; arguments like those of `cut`."""
        cut = self.cut(images, end_to_end, real)
        local, local_change = self.generator["local"].edit(cut.crops, condition)
        overall, global_change = self.generator["global"].edit(images, condition)
        result, fusion_change = self.generator["fusion"].blend(overall, self.stitch(local, cut))
        changes = (global_change, local_change, fusion_change)
        return {"cut": cut, "local": local, "global": overall, "fusion": result, "changes": changes}

    # Losses ----------------------------------------------------------------------------------------------------------

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """All discriminators, each with its own optimum, so without the lambda_p of Eq. 8."""
        image = batch["image"]
        source, target = self.condition.source(batch), self.condition.target(batch)
        if "fake/fusion" not in batch:
            with torch.no_grad():
                told = self.condition.told(source, target)
                out = {"cut": self.cut(image)} if self.config.alone(step) else self.run(image, told)
                batch.update(_seen(out))
        total = image.new_zeros(())
        terms: Terms = {}
        crops, valid = batch["crops"], batch["valid"]
        for name, real, weight in (("global", image, None), ("fusion", image, None), ("local", crops, valid)):
            fake = batch.get(f"fake/{name}")
            loss, own = self.discriminator[name].discriminator_loss(real, fake, source, target, step, weight)
            total = total + loss
            terms.update({f"{_prefix(name)}{term}": value for term, value in own.items()})
        return total, terms

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Eq. 8; terms `<p>/adv`, `<p>/cls`, `<p>/cycle`, and the mean area of every part's mask as a guard.

        Those of the fusion, whose result is the edit, have no prefix, like those of methods with one generator.
        """
        config = self.config
        image = batch["image"]
        source, target = self.condition.source(batch), self.condition.target(batch)
        asked, back = self.condition.told(source, target), self.condition.told(target, source)
        parts = {"global": 1, "fusion": 1, "local": len(config.parts)}
        end_to_end = step % config.segmenter_every == 0
        out = self.run(image, asked, end_to_end)
        cut: Cut = out["cut"]
        batch["edited"] = out["fusion"]
        batch.update(_seen(out))
        lazy = budget.due(step, config.reconstruction_every)
        cycled = self._cycle(out, back, end_to_end) if lazy else {}
        total = image.new_zeros(())
        terms: Terms = {}
        # The target of a part's reconstruction is detached: both sides are functions of S, and an empty mask would win.
        originals = {"global": image, "fusion": image, "local": cut.crops.detach()}
        lambdas = {"global": config.lambda_global, "fusion": config.lambda_fusion, "local": config.lambda_local}
        for name, original in originals.items():
            weight = cut.valid if name == "local" else None
            loss, own = self.discriminator[name].generator_loss(out[name], target, weight)
            if lazy:
                own["cycle"] = part_mean(losses.reconstruction(original, cycled[name], parts[name]), weight)
                loss = loss + lazy * config.lambda_reconstruction * own["cycle"]
            total = total + lambdas[name] * loss
            terms.update({f"{_prefix(name)}{term}": value for term, value in own.items()})
        for index, part in enumerate(config.parts):
            terms[f"area/{part}"] = cut.masks[:, index].mean()
        total, terms = budget.restrained(config, total, terms, batch, *out["changes"])
        if self.anchor is not None and cut.logits is not None and cut.logits.requires_grad:
            with torch.no_grad():
                before = torch.log_softmax(_parse(self.anchor, image), 1)
            after = torch.log_softmax(cut.logits, 1)
            divergence = F.kl_div(after, before, reduction="none", log_target=True).sum(1).mean()
            terms["anchor"] = divergence
            total = total + config.segmenter_anchor * divergence
        return total, terms

    def _cycle(self, out: Mapping[str, Any], back: Tensor, end_to_end: bool) -> dict[str, Tensor]:
        """The translations sent back to their source label (Eq. 7)."""
        local = self.generator["local"](out["local"], back)
        overall = self.generator["global"](out["global"], back)
        if self.config.fusion_reconstruction == "full":
            fused = self.run(out["fusion"], back, end_to_end, real=False)["fusion"]
        else:
            fused = self.generator["fusion"](overall, self.stitch(local, out["cut"]))
        return {"local": local, "global": overall, "fusion": fused}

    # Translation -----------------------------------------------------------------------------------------------------

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Edit images (B, 3, H, W) in [-1, 1] from the states `source` to `target`, float (B, K)."""
        result: Tensor = self.run(images, self.condition.told(source, target))["fusion"]
        return result

    def generator_state(self) -> dict[str, Tensor]:
        """What `generator.safetensors` holds."""
        return {**stored_state(self.generator, self.condition), "mean_boxes": self.mean_boxes}

    def load_generator_state(self, state: Mapping[str, Tensor]) -> None:
        """Load `generator_state()`. Raises `RuntimeError` when names or shapes differ."""
        own = dict(state)
        self.mean_boxes.copy_(own.pop("mean_boxes"))
        load_stored_state(own, self.generator, self.condition)


def _global_for_whole(_module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Rename the weights of G_global in files of earlier versions, which call it `whole`."""
    for name in [name for name in state if name.startswith(f"{prefix}whole.")]:
        state[f"{prefix}global.{name.removeprefix(f'{prefix}whole.')}"] = state.pop(name)


def _parse(segmenter: nn.Module, images: Tensor) -> Tensor:
    """Logits (B, 19, H, W) of images, all computed in float32, under autocast as well.

    phi multiplies what bfloat16 rounds: at the borders of the parts, the only pixels that teach S, it moves the masks
    by 0.04 on average and 0.3 at most. Rounding inside S does most of that, so float32 logits alone are not enough.
    """
    with torch.autocast(images.device.type, enabled=False):
        logits: Tensor = segmenter(images.float())
    return logits


def _prefix(name: str) -> str:
    """Before the names of the terms of a network."""
    return "" if name == "fusion" else f"{name}/"


def _seen(out: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the discriminators see of a pass, without its graph: the real parts and, where made, the fakes by name."""
    cut: Cut = out["cut"]
    fakes = {f"fake/{name}": out[name].detach() for name in ("global", "fusion", "local") if name in out}
    if fakes:
        fakes["fake"] = fakes["fake/fusion"]
    return {"crops": cut.crops.detach(), "valid": cut.valid, **fakes}
