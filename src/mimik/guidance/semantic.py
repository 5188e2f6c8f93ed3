"""The semantic branch of SeCGAN (Sun et al. 2021): a second GAN edits the face's label map beside the images' GAN.

Notation, layers, schedule and published numbers: docs/papers/secgan.md.

A frozen parser P reads the input; the branch translates that mask under the same label as the method translates the
image; P reads the edited image as well, and both generators are held to the same semantics. With signs put right, to
be minimised (the images' own terms, eq. 1 to 5, 13 and 14, are the method's):

    D_seg: E[D(s_out)] - E[D(s_in)] + 10 GP + lambda_cls CE(D_cls(s_in), y_src)                 Eq. 6, 8, 15
    G_seg: -E[D(s_out)] + lambda_cls CE(D_cls(s_out), y_trg)                                    Eq. 7, 9, 16
           + lambda_rec CE(s_in, G_seg(s_in, 0)) + lambda_sc CE(onehot P(x_out), s_out)         Eq. 10, 12
    G_rgb: lambda_sc CE(onehot s_out, P(x_out))                                                 Eq. 11

s_in is one-hot, s_out a softmax. Each side of the consistency takes the other as a constant: eq. 11 reaches the
method's generator through P alone, eq. 12 the branch's. The text calls both sides soft, its equations make one of them
one-hot (`targets: soft` takes the text at its word). Of a method that is told absolute labels, "no change" is its own
state, see `mimik.components.conditions`.

Choices where the paper is silent: P has CelebAMask-HQ's 19 classes, whose probabilities are summed to the 12, instead
of having been trained with 12; the branch's weights are those of its backbone (the paper has one set of lambdas for
both branches, although one reconstruction is a cross-entropy and the other a distance). Absolute labels reach the
branch as 0 and 1 with both backbones.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mimik.components import budget
from mimik.components.adversary import Adversary, AdversaryConfig, Terms
from mimik.components.budget import LazyReconstruction
from mimik.components.context import Context
from mimik.components.semantics import MASK_CHANNELS, Parser, compose_masks, cross_entropy, one_hot
from mimik.faces.masks import colour
from mimik.labels import IGNORED, SECGAN_CLASSES, SECGAN_OF_SEGMENTATION
from mimik.methods.attgan import CriticConfig, critic
from mimik.networks import attgan, stargan
from mimik.networks.stargan import Stem
from mimik.training.batches import Batch
from mimik.training.guided import Named, Pictures

Head = Literal["direct", "masked"]


@dataclass(frozen=True)
class StarGANBranch:
    """Settings of the branch with StarGAN's networks (table 2 of the paper).

    Attributes:
        conv_dim, residual_blocks, stem: see `mimik.networks.stargan.Generator`.
        head: `direct`, or `masked`: see `mimik.components.semantics.compose_masks`.
        lambda_reconstruction: weight of eq. 10.
        adversary: settings of D_seg.
    """

    conv_dim: int = 64
    residual_blocks: int = 6
    head: Head = "direct"
    stem: Stem = "conv"
    lambda_reconstruction: float = 10.0
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)


@dataclass(frozen=True)
class AttGANBranch:
    """Settings of the branch with AttGAN's networks (table 3 of the paper).

    Attributes:
        conv_dim, layers, max_conv_dim, shortcut_layers, inject_layers: see `mimik.networks.attgan.Generator`.
        head, lambda_reconstruction, adversary: as for `StarGANBranch`.
    """

    conv_dim: int = 64
    layers: int = 5
    max_conv_dim: int = 1024
    shortcut_layers: int = 1
    inject_layers: int = 1
    head: Head = "direct"
    lambda_reconstruction: float = 100.0
    adversary: CriticConfig = field(default_factory=CriticConfig)


@dataclass(frozen=True)
class Config(LazyReconstruction):
    """Settings; the defaults are the published ones.

    Attributes:
        backbone: the method whose networks the branch uses.
        direction: which generator the consistency trains: `both`, the method's (`rgb_only`: only eq. 11) or the
            branch's (`seg_only`: only eq. 12, which leaves the method without guidance).
        targets: `hard` (one-hot, eq. 11 and 12) or `soft`.
        lambda_consistency: lambda_sc, weight of eq. 11 and 12.
        stargan, attgan: settings of the branch with that backbone.
    """

    backbone: Literal["stargan", "attgan"] = "stargan"
    direction: Literal["both", "rgb_only", "seg_only"] = "both"
    targets: Literal["hard", "soft"] = "hard"
    lambda_consistency: float = 0.01
    stargan: StarGANBranch = field(default_factory=StarGANBranch)
    attgan: AttGANBranch = field(default_factory=AttGANBranch)

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        super().__post_init__()
        if self.lambda_consistency < 0:
            raise ValueError("lambda_consistency must not be negative")


class StarGANMasks(nn.Module):
    """G_seg with StarGAN's layers."""

    def __init__(self, config: StarGANBranch, states: int) -> None:
        super().__init__()
        self.network = stargan.Generator(
            states,
            channels=MASK_CHANNELS,
            conv_dim=config.conv_dim,
            residual_blocks=config.residual_blocks,
            head=config.head,
            stem=config.stem,
        )

    def forward(self, masks: Tensor, told: Tensor) -> Tensor:
        """Masks (B, 12, H, W) and condition (B, K) -> log-probabilities (B, 12, H, W)."""
        return compose_masks(masks, self.network.raw(masks, told).squeeze(1))


class AttGANMasks(nn.Module):
    """G_seg with AttGAN's layers."""

    def __init__(self, config: AttGANBranch, states: int) -> None:
        super().__init__()
        self.network = attgan.Generator(
            states,
            channels=MASK_CHANNELS,
            conv_dim=config.conv_dim,
            layers=config.layers,
            max_conv_dim=config.max_conv_dim,
            shortcut_layers=config.shortcut_layers,
            inject_layers=config.inject_layers,
            head=config.head,
        )

    def forward(self, masks: Tensor, told: Tensor) -> Tensor:
        """Masks (B, 12, H, W) and condition (B, K) -> log-probabilities (B, 12, H, W)."""
        return compose_masks(masks, self.network.raw(self.network.encode(masks), told))


class Guide(nn.Module):
    """The semantic branch and the consistency of both branches."""

    def __init__(self, config: Config, context: Context) -> None:
        """Build the branch around a pre-trained segmenter, its own copy.

        Raises:
            ValueError: no segmenter was given.
        """
        super().__init__()
        self.config, self.condition = config, context.condition
        self.parser = Parser(context.needed("segmenter", "semantic guidance"))
        self.reads = self.condition.reads
        size, states = context.image_size, self.condition.dim
        self.generator: nn.Module
        if config.backbone == "stargan":
            self.generator = StarGANMasks(config.stargan, states)
            self.discriminator = Adversary(
                config.stargan.adversary, size, self.condition, channels=MASK_CHANNELS, colours=False
            )
            self.lambda_reconstruction = config.stargan.lambda_reconstruction
        else:
            self.generator = AttGANMasks(config.attgan, states)
            self.discriminator = critic(config.attgan.adversary, size, self.condition, MASK_CHANNELS, colours=False)
            self.lambda_reconstruction = config.attgan.lambda_reconstruction

    @property
    def kept(self) -> dict[str, nn.Module]:
        """G_seg, and P, which reads the masks."""
        return {"generator": self.generator, "parser": self.parser}

    @property
    def shows(self) -> str:
        """True maps: masks of the 19 classes."""
        return "masks"

    def draw_truth(self, stored: npt.NDArray[np.uint8]) -> Pictures:
        """Stored masks uint8 (B, S, S) of the 19 classes, as pictures uint8 (B, S, S, 3) of the 12."""
        merged = np.full(256, IGNORED, np.uint8)
        merged[: len(SECGAN_OF_SEGMENTATION)] = SECGAN_OF_SEGMENTATION
        return _coloured(merged[stored])

    def draw(self, images: Tensor, edits: Tensor, source: Tensor, target: Tensor) -> tuple[Named, Named]:
        """s_in, s_out and what P reads from the edit; see `mimik.training.guided.Drawing`."""
        masks = self.parser.masks(images)
        made = self.generator(masks, self.condition.told(source, target))
        own, wanted, read = (
            _coloured(scores.argmax(1).cpu().numpy().astype(np.uint8)) for scores in (masks, made, self.parser(edits))
        )
        return {"mask of input": own}, {"mask by G_seg": wanted, "mask of edit": read}

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean."""
        return [self.generator]

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update."""
        parameters = list(self.discriminator.parameters())
        return [{"params": parameters, "learning_rate": self.discriminator.config.learning_rate}]

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update."""
        return [{"params": list(self.generator.parameters())}]

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Eq. 15. See `mimik.components.adversary.Adversary.discriminator_loss` for the terms."""
        source, target = self.condition.source(batch), self.condition.target(batch)
        masks = self.parser.masks_of(batch)
        if "semantic/fake" not in batch:
            with torch.no_grad():
                batch["semantic/fake"] = self.generator(masks, self.condition.told(source, target)).exp()
        return self.discriminator.discriminator_loss(masks, batch["semantic/fake"], source, target, step)

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Eq. 16 and lambda_sc times eq. 11: terms `adv`, `cls`, `self` of the branch, `sc_rgb`, `sc_seg`."""
        config, told = self.config, self.condition.told
        source, target = self.condition.source(batch), self.condition.target(batch)
        masks = self.parser.masks_of(batch)
        edited = self.generator(masks, told(source, target))
        probabilities = edited.exp()
        batch["semantic/fake"] = probabilities.detach()
        total, terms = self.discriminator.generator_loss(probabilities, target)
        if lazy := budget.due(step, config.reconstruction_every):
            terms["self"] = cross_entropy(masks, self.generator(masks, told(source, source)))
            total = total + lazy * self.lambda_reconstruction * terms["self"]
        parsed = self.parser(batch["edited"])
        terms["sc_rgb"] = cross_entropy(self._constant(edited), parsed)
        terms["sc_seg"] = cross_entropy(self._constant(parsed), edited)
        for direction in ("rgb", "seg"):
            if config.direction in ("both", f"{direction}_only"):
                total = total + config.lambda_consistency * terms[f"sc_{direction}"]
        return total, terms

    def _constant(self, log_probabilities: Tensor) -> Tensor:
        """The other branch's output as a target, without its graph."""
        soft = log_probabilities.detach()
        return one_hot(soft) if self.config.targets == "hard" else soft.exp()


def _coloured(labels: npt.NDArray[np.uint8]) -> Pictures:
    """Labels of the 12 classes in display colours: those of the first of the 19 that was merged into each."""
    table = np.full(256, IGNORED, np.uint8)
    for index in range(len(SECGAN_CLASSES)):
        table[index] = SECGAN_OF_SEGMENTATION.index(index)
    return colour(table[labels])
