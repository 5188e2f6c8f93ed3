"""AttGAN (He et al., TIP 2019, arXiv 1711.10678): an encoder and a decoder conditioned on labels, without a cycle.

Losses with the WGAN-GP objective (section III-B, eq. 7 to 15; docs/papers/baselines.md#attgan), to be minimised, as
elvisyjlin/AttGAN-PyTorch has them, which SeCGAN builds on:

    D: E[D(x_b)] - E[D(x)] + 10 GP + lambda_3 BCE(C(x), a)                               lambda_3 = 1
    G: -E[D(x_b)] + lambda_2 BCE(C(x_b), b) + lambda_1 |x - x_a|_1                       lambda_2 = 10, lambda_1 = 100

with x_b = decode(encode(x), b) and x_a = decode(encode(x), a): the reconstruction has the face's own labels as target,
in one pass over one code. BCE is averaged over the labels. The decoder receives (2 label - 1) / 2. With label
differences (`condition: {form: relative}`, the baseline of Sun et al.) it receives them unchanged, and zero for x_a.

Deviations from that code: D and G see the same batch, five D updates to one of G (algorithm 1 of Sun et al.), where it
has five batches for D and a sixth for G; the learning rate decays exponentially to a hundredth over the second half (as
Sun et al. write; their `schedule: step` is the code's); expressions, of which a face has exactly one, are learned by a
softmax cross-entropy (`labels: binary` is the code's). Options off by default are described where they are declared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from mimik.components import budget, losses
from mimik.components.adversary import Adversary, AdversaryConfig, Terms, matching_logits
from mimik.components.budget import LazyReconstruction, OutputHead, Rounds
from mimik.components.conditions import Condition
from mimik.components.context import Context, load_stored_state, stored_state
from mimik.components.losses import LabelReduction
from mimik.components.semantics import MASK_CHANNELS, Parser
from mimik.networks.attgan import CriticNorm, Discriminator, Generator
from mimik.training.batches import Batch
from mimik.training.schedule import Update, critic_and_generator

TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "epochs": 200,
        "steps": 227_480,  # the same on the 182,000 faces of the paper: smaller sets get no fewer updates
        "batch_size": 32,
        "learning_rate": 2e-4,
        "betas": (0.5, 0.999),
        "schedule": "exponential",
        "decay_start": 0.5,
        "flip": False,
    }
)
"""The published schedule, as overrides of `mimik.training.loop.TrainingConfig`."""

CONDITION: Mapping[str, Any] = MappingProxyType({"reversal": "exclusive", "intensity": 1.5})
"""The generator's condition unless params.yaml sets another: target labels; attributes are reversed as in the code."""


@dataclass(frozen=True)
class CriticConfig(AdversaryConfig):
    """Settings of AttGAN's discriminator.

    Attributes:
        hidden: see `mimik.networks.attgan.Discriminator`.
        norm: see `mimik.networks.attgan.Discriminator`. With a norm, every penalty on its gradient is differentiated
            twice.
    """

    layers: int = 5
    max_conv_dim: int = 1024
    lambda_classification_generator: float | None = 10.0
    label_reduction: LabelReduction = "mean"
    hidden: int = 1024
    norm: CriticNorm = "instance"


@dataclass(frozen=True)
class Config(Rounds, LazyReconstruction, OutputHead):
    """Settings; the defaults are the published ones.

    Attributes:
        conv_dim, layers, max_conv_dim, shortcut_layers, inject_layers: see `mimik.networks.attgan.Generator`.
        lambda_reconstruction: lambda_1, weight of the reconstruction.
        label_scale: absolute labels of 0 and 1 are fed to the decoder as minus and plus this value.
        see_masks: the encoder also receives the input's label map from a frozen segmenter ("Baseline + Concat" of Sun
            et al., section 4.5).
        adversary: settings of the discriminator; lambda_3 is its `lambda_classification`, lambda_2 its
            `lambda_classification_generator`.
    """

    conv_dim: int = 64
    layers: int = 5
    max_conv_dim: int = 1024
    shortcut_layers: int = 1
    inject_layers: int = 1
    lambda_reconstruction: float = 100.0
    label_scale: float = 0.5
    see_masks: bool = False
    adversary: CriticConfig = field(default_factory=CriticConfig)


def critic(
    config: CriticConfig, image_size: int, condition: Condition, channels: int = 3, colours: bool = True
) -> Adversary:
    """AttGAN's discriminator with its losses, for images of so many channels, or masks (without `colours`)."""
    network = Discriminator(
        image_size,
        condition.dim,
        channels=channels,
        conv_dim=config.conv_dim,
        layers=config.layers,
        max_conv_dim=config.max_conv_dim,
        hidden=config.hidden,
        norm=config.norm,
        matching=matching_logits(config, condition),
        negative_slope=config.negative_slope,
        initialisation=config.initialisation,
    )
    return Adversary(config, image_size, condition, channels=channels, network=network, colours=colours)


class Method(nn.Module):
    """AttGAN as a task for the training loop and as a translator."""

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
            layers=config.layers,
            max_conv_dim=config.max_conv_dim,
            shortcut_layers=config.shortcut_layers,
            inject_layers=config.inject_layers,
            head=config.head,
        )
        self.discriminator = critic(config.adversary, context.image_size, self.condition)
        self.parser = Parser(context.needed("segmenter", "see_masks")) if config.see_masks else None
        self.updates: Sequence[Update] = critic_and_generator(config)

    @property
    def averaged(self) -> nn.Module:
        """The generator."""
        return self.generator

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean: layers; code and picture are made separately."""
        return [*self.generator.encoder, *self.generator.decoder]

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update."""
        return self.discriminator.parameter_groups()

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update."""
        return [{"params": list(self.generator.parameters())}]

    def told(self, source: Tensor, target: Tensor) -> Tensor:
        """The decoder's condition, (B, K): labels as -1/2 and 1/2, or their difference."""
        told = self.condition.told(source, target)
        if self.condition.config.form == "relative":
            return told
        return (2 * told - 1) * self.config.label_scale

    def encode(self, images: Tensor) -> list[Tensor]:
        """Features of the encoder, see `mimik.networks.attgan.Generator.encode`."""
        return self.generator.encode(images, None if self.parser is None else self.parser.masks(images))

    def _code(self, batch: Batch) -> list[Tensor]:
        """Features of the batch's real faces, which are parsed once for all updates."""
        return self.generator.encode(batch["image"], None if self.parser is None else self.parser.masks_of(batch))

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """First line of the losses. See `mimik.components.adversary.Adversary.discriminator_loss` for the terms."""
        source, target = self.condition.source(batch), self.condition.target(batch)
        image, told = batch["image"], self.told(source, target)
        fake = budget.fake(self.config, batch, step, lambda: self.generator.decode(image, self._code(batch), told)[0])
        return self.discriminator.discriminator_loss(batch["image"], fake, source, target, step)

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Second line of the losses: terms `adv`, `cls`, `self` (and `match`, `change`, `smooth` where switched on)."""
        config = self.config
        image = batch["image"]
        source, target = self.condition.source(batch), self.condition.target(batch)
        code = self._code(batch)
        fake, change = self.generator.decode(image, code, self.told(source, target))
        batch["edited"] = fake
        total, terms = self.discriminator.generator_loss(fake, target)
        if lazy := budget.due(step, config.reconstruction_every):
            own, _ = self.generator.decode(image, code, self.told(source, source))
            terms["self"] = losses.reconstruction(image, own).mean()
            total = total + lazy * config.lambda_reconstruction * terms["self"]
        return budget.restrained(config, total, terms, batch, change)

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Edit images (B, 3, H, W) in [-1, 1] from the states `source` to `target`, float (B, K)."""
        edited, _ = self.generator.decode(images, self.encode(images), self.told(source, target))
        return edited

    def displacements(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor | None:
        """Where `translate` takes its pixels from before it paints, see `mimik.networks.heads.displacements`."""
        seen = None if self.parser is None else self.parser.masks(images)
        return self.generator.displacements(images, self.told(source, target), seen)

    def generator_state(self) -> dict[str, Tensor]:
        """What `generator.safetensors` holds."""
        parser = {} if self.parser is None else self.parser.stored()
        return {**stored_state(self.generator, self.condition), **parser}

    def load_generator_state(self, state: Mapping[str, Tensor]) -> None:
        """Load `generator_state()`. Raises `RuntimeError` when names or shapes differ."""
        if self.parser is not None:
            state = self.parser.load_stored(state)
        load_stored_state(state, self.generator, self.condition)
