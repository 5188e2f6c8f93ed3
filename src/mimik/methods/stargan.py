"""StarGAN (Choi et al., CVPR 2018, arXiv 1711.09020): one generator for all classes, conditioned on the target label.

Losses to be minimised (section 3.1, eq. 1 to 6, with the WGAN-GP objective of eq. 8; docs/papers/baselines.md#stargan):

    D: E[D(G(x, t))] - E[D(x)] + 10 GP + lambda_cls CE(D_cls(x), s)
    G: -E[D(G(x, t))] + lambda_cls CE(D_cls(G(x, t)), t) + lambda_rec |x - G(G(x, t), s)|_1

with lambda_cls 1, lambda_rec 10 and five D updates per G update. With anything other than target labels it is the same
method under another condition (`mimik.components.conditions`). SeCGAN's baseline takes label differences and
reconstructs in one pass, |x - G(x, 0)|_1 (Sun et al., eq. 5: `reconstruction: self`); `mimik.guidance.semantic` makes
SeCGAN of it. Known deviations from the authors' code: the learning rate really decays linearly to zero over the second
half (the paper says so, their code subtracts too little); the fake of a D update is made without a graph. Options off
by default are described where they are declared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor, nn

from mimik.components import budget, losses
from mimik.components.adversary import Adversary, AdversaryConfig, Terms
from mimik.components.budget import LazyReconstruction, OutputHead, Rounds
from mimik.components.context import Context, load_stored_state, stored_state
from mimik.components.semantics import MASK_CHANNELS, Parser
from mimik.networks.stargan import Generator, Stem
from mimik.training.batches import Batch
from mimik.training.schedule import Update, critic_and_generator

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
"""The published schedule, as overrides of `mimik.training.loop.TrainingConfig`."""

CONDITION: Mapping[str, Any] = MappingProxyType({"reversal": "hair_colour"})
"""The generator's condition unless params.yaml sets another: target labels; attributes are reversed as in the code."""


@dataclass(frozen=True)
class Config(Rounds, LazyReconstruction, OutputHead):
    """Settings; the defaults are the published ones.

    Attributes:
        conv_dim, residual_blocks, stem: see `mimik.networks.stargan.Generator`.
        reconstruction: `cycle`, or `self`: the edit without a change.
        lambda_reconstruction: weight of the reconstruction.
        see_masks: the generator also receives the input's label map from a frozen segmenter ("Baseline + Concat" of Sun
            et al., section 4.5).
        adversary: settings of the discriminator.
    """

    conv_dim: int = 64
    residual_blocks: int = 6
    stem: Stem = "conv"
    reconstruction: Literal["cycle", "self"] = "cycle"
    lambda_reconstruction: float = 10.0
    see_masks: bool = False
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)


class Method(nn.Module):
    """StarGAN as a task for the training loop and as a translator."""

    def __init__(self, config: Config, context: Context) -> None:
        """Build the networks for the condition and image size of `context`.

        Raises:
            ValueError: sizes that do not fit, or `see_masks` without a segmenter.
        """
        super().__init__()
        self.config, self.condition = config, context.condition
        self.reads = self.condition.reads | config.reads
        self.generator = Generator(
            self.condition.dim,
            seen_channels=MASK_CHANNELS if config.see_masks else 0,
            conv_dim=config.conv_dim,
            residual_blocks=config.residual_blocks,
            head=config.head,
            stem=config.stem,
        )
        self.discriminator = Adversary(config.adversary, context.image_size, self.condition)
        self.parser = Parser(context.needed("segmenter", "see_masks")) if config.see_masks else None
        self.updates: Sequence[Update] = critic_and_generator(config)

    @property
    def averaged(self) -> nn.Module:
        """The generator."""
        return self.generator

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean: the layers, not called as one network."""
        return self.generator.layers

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update."""
        return self.discriminator.parameter_groups()

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update."""
        return [{"params": list(self.generator.parameters())}]

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Eq. 6, first line. See `mimik.components.adversary.Adversary.discriminator_loss` for the terms."""
        source, target = self.condition.source(batch), self.condition.target(batch)
        told, image = self.condition.told(source, target), batch["image"]
        fake = budget.fake(self.config, batch, step, lambda: self.edit(image, told, self._seen(batch))[0])
        return self.discriminator.discriminator_loss(batch["image"], fake, source, target, step)

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Eq. 6, second line: terms `adv`, `cls`, `cycle` or `self` (`match`, `change`, `smooth` where switched on)."""
        config, told = self.config, self.condition.told
        image = batch["image"]
        source, target = self.condition.source(batch), self.condition.target(batch)
        seen = self._seen(batch)
        fake, change = self.edit(image, told(source, target), seen)
        batch["edited"] = fake
        total, terms = self.discriminator.generator_loss(fake, target)
        if lazy := budget.due(step, config.reconstruction_every):
            form = config.reconstruction
            cycle = form == "cycle"
            again, _ = self.edit(fake, told(target, source)) if cycle else self.edit(image, told(source, source), seen)
            terms[form] = losses.reconstruction(image, again).mean()
            total = total + lazy * config.lambda_reconstruction * terms[form]
        return budget.restrained(config, total, terms, batch, change)

    def edit(self, images: Tensor, told: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The generator's edit of images, and how much of every pixel was replaced; see its `edit`.

        With `see_masks` the images are parsed, unless `seen` are their masks.
        """
        if self.parser is not None and seen is None:
            seen = self.parser.masks(images)
        return self.generator.edit(images, told, seen)

    def _seen(self, batch: Batch) -> Tensor | None:
        """What the generator sees beside the batch's real faces."""
        return None if self.parser is None else self.parser.masks_of(batch)

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Edit images (B, 3, H, W) in [-1, 1] from the states `source` to `target`, float (B, K)."""
        edited, _ = self.edit(images, self.condition.told(source, target))
        return edited

    def displacements(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor | None:
        """Where `translate` takes its pixels from before it paints, see `mimik.networks.heads.displacements`."""
        seen = None if self.parser is None else self.parser.masks(images)
        return self.generator.displacements(images, self.condition.told(source, target), seen)

    def generator_state(self) -> dict[str, Tensor]:
        """What `generator.safetensors` holds."""
        parser = {} if self.parser is None else self.parser.stored()
        return {**stored_state(self.generator, self.condition), **parser}

    def load_generator_state(self, state: Mapping[str, Tensor]) -> None:
        """Load `generator_state()`. Raises `RuntimeError` when names or shapes differ."""
        if self.parser is not None:
            state = self.parser.load_stored(state)
        load_stored_state(state, self.generator, self.condition)
