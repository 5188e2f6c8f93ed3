"""StarGAN (Choi et al., CVPR 2018, arXiv 1711.09020): one generator for all classes, told the target label.

Losses (section 3.1, eq. 1 to 6, with the WGAN-GP objective of eq. 8), to be minimised:

    D: E[D(G(x, t))] - E[D(x)] + 10 GP + lambda_cls CE(D_cls(x), s)
    G: -E[D(G(x, t))] + lambda_cls CE(D_cls(G(x, t)), t) + lambda_rec |x - G(G(x, t), s)|_1

with lambda_cls 1, lambda_rec 10 and five D updates per G update. Known deviations from the authors' code: the
learning rate really decays linearly to zero over the second half (the paper says so, their code subtracts too
little); the fake of a D update is made without a graph. Options off by default are described where they are declared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from mimik import losses
from mimik.adversary import Adversary, AdversaryConfig, Terms
from mimik.batches import Batch
from mimik.conditions import target_label
from mimik.networks.stargan import Generator, Head, Stem
from mimik.training import Update

TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "steps": 40_000,  # 200,000 iterations of D, five per step
        "batch_size": 16,
        "learning_rate": 1e-4,
        "betas": (0.5, 0.999),
        "schedule": "linear",
        "decay_start": 0.5,
    }
)
"""The published schedule, as overrides of `mimik.training.TrainingConfig`."""


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are the published ones.

    Attributes:
        conv_dim, residual_blocks, head, stem: see `mimik.networks.stargan.Generator`.
        critic_updates: D updates per G update.
        critic_head_start: steps in which D is trained alone, on the labels of real images.
        reuse_fake: update G before D within a round and let D see the fake that G was updated on, instead of making
            another one: one generator pass less per step, and D lags one G update behind.
        lambda_reconstruction: weight of the cycle term.
        reconstruction_every: compute the cycle term on every so many steps only, as many times as strong (the pass
            back is half of a generator update).
        lambda_change: weight of the mean share of every pixel that the head replaces (not for the direct head).
        lambda_smooth: weight of that map's total variation.
        adversary: settings of the discriminator.
    """

    conv_dim: int = 64
    residual_blocks: int = 6
    head: Head = "direct"
    stem: Stem = "conv"
    critic_updates: int = 5
    critic_head_start: int = 0
    reuse_fake: bool = False
    lambda_reconstruction: float = 10.0
    reconstruction_every: int = 1
    lambda_change: float = 0.0
    lambda_smooth: float = 0.0
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)

    def __post_init__(self) -> None:
        """Refuse combinations that make no sense."""
        if self.head == "direct" and (self.lambda_change or self.lambda_smooth):
            raise ValueError("lambda_change and lambda_smooth need another head than direct")
        if self.critic_updates < 1 or self.reconstruction_every < 1:
            raise ValueError("critic_updates and reconstruction_every must be at least 1")


class Method(nn.Module):
    """StarGAN as a task for the training loop and as a translator."""

    segmenter = None
    reads: frozenset[str] = frozenset({"label", "target"})

    def __init__(self, config: Config, classes: int, image_size: int, segmenter: nn.Module | None = None) -> None:
        """Build the networks.

        Args:
            config: settings.
            classes: number of expression classes.
            image_size: side of the images in pixels.
            segmenter: unused; every method is built the same way.
        """
        super().__init__()
        self.config, self.classes = config, classes
        self.generator = Generator(
            classes,
            conv_dim=config.conv_dim,
            residual_blocks=config.residual_blocks,
            head=config.head,
            stem=config.stem,
        )
        self.discriminator = Adversary(config.adversary, image_size, classes)
        order = (
            Update("discriminator", config.critic_updates),
            Update("generator", 1, start=config.critic_head_start),
        )
        self.updates: Sequence[Update] = order[::-1] if config.reuse_fake else order

    @property
    def averaged(self) -> nn.Module:
        """The generator."""
        return self.generator

    @property
    def compiled(self) -> list[nn.Module]:
        """Networks that `training.compile` compiles."""
        return [self.generator]

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update."""
        factor = self.config.adversary.learning_rate
        return [{"params": list(self.discriminator.parameters()), "learning_rate": factor}]

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update."""
        return [{"params": list(self.generator.parameters())}]

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Eq. 6, first line. See `mimik.adversary.Adversary.discriminator_loss` for the terms."""
        if step < self.config.critic_head_start:
            return self.discriminator.label_loss(batch["image"], batch["label"])
        if "fake" in batch:
            fake = batch["fake"]
        else:
            with torch.no_grad():
                fake = self.generator(batch["image"], target_label(batch["target"], self.classes))
        return self.discriminator.discriminator_loss(batch["image"], fake, batch["label"], batch["target"], step)

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Eq. 6, second line: terms `adv`, `cls`, `rec` (and `match`, `change`, `smooth` where switched on)."""
        config = self.config
        image, source, target = batch["image"], batch["label"], batch["target"]
        fake, change = self.generator.edit(image, target_label(target, self.classes))
        if config.reuse_fake:
            batch["fake"] = fake.detach()
        total, terms = self.discriminator.generator_loss(fake, target)
        if step % config.reconstruction_every == 0:
            cycled = self.generator(fake, target_label(source, self.classes))
            terms["rec"] = losses.reconstruction(image, cycled).mean()
            total = total + config.lambda_reconstruction * config.reconstruction_every * terms["rec"]
        if change is not None:
            terms["change"] = change.mean()
            terms["smooth"] = losses.total_variation(change)
            total = total + config.lambda_change * terms["change"] + config.lambda_smooth * terms["smooth"]
        return total, terms

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Edit images (B, 3, H, W) in [-1, 1] to the classes `target`, int64 (B,); `source` is not needed."""
        edited: Tensor = self.generator(images, target_label(target, self.classes))
        return edited

    def generator_state(self) -> dict[str, Tensor]:
        """What `generator.safetensors` holds."""
        return {name: value.contiguous() for name, value in self.generator.state_dict().items()}

    def load_generator_state(self, state: Mapping[str, Tensor]) -> None:
        """Load `generator_state()`. Raises `RuntimeError` when names or shapes differ."""
        self.generator.load_state_dict(dict(state))
