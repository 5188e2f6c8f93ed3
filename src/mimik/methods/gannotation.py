"""GANnotation (Sanchez and Valstar 2018, arXiv 1811.03492): edits that are told 68 landmarks, with triple consistency.

The generator is StarGAN's; instead of a class it is told landmarks as heat maps. With b the landmarks that a face x of
landmarks s is asked for, and c those of a third face, to be minimised (G; D has its own optimum):

    lambda_adversarial L_adv + lambda_self |x - G(G(x, b), s)|_1 + lambda_triple |G(x, c) - G(G(x, b), c)|_1

Written for videos of one person, where the target frame is known; here as in the comparison of Bodur et al. 2021 on
faces without pairs (docs/papers/baselines.md#gannotation). What follows from that:
- b is the shape of another face of the batch, brought to the source's face by the similarity transform that is nearest
  (Procrustes, all 68 points): it asks for that face's expression, and within limits for its proportions;
- there is no pixel loss towards the target frame. It is what made the picture follow the landmarks, and without it a
  generator that outputs its input has no loss at all. In its place D names the expression, as StarGAN's does, and G is
  to show that of the face whose landmarks it was told: L_adv holds that term as well;
- asked for an expression by name, the landmarks are the mean shape of the training faces of that class, fitted to the
  mean shape of the source's class, and between two expressions a mean of the two. Faces are aligned by one template,
  so mean shapes lie where a face's own landmarks do up to its own proportions, which an edit pulls towards the mean;
  even an edit to the source's own state does. The source's own landmarks are not used.

Further known deviations from the authors' code: no perceptual loss (they compare with the target frame, which is not
known) and no total variation (its weight there, 1e-8 of a mean over pixels, is nothing); the learning rate decays
linearly, not to a tenth after every epoch, which ends their training after five; gradients are not clipped.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from mimik.components import budget, losses
from mimik.components.adversary import Adversary, AdversaryConfig, Terms
from mimik.components.budget import OutputHead, Rounds
from mimik.components.context import Context, load_stored_state, stored_state
from mimik.networks.gannotation import POINTS, LandmarkGenerator
from mimik.networks.slices import Slices
from mimik.networks.stargan import Stem
from mimik.training.batches import Batch
from mimik.training.schedule import Update, critic_and_generator

TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "steps": 160_000,  # 80 epochs of 10,000 iterations, of which every fifth updates G
        "batch_size": 64,
        "learning_rate": 1e-4,
        "betas": (0.5, 0.9),
        "weight_decay": 5e-4,
        "schedule": "linear",
        "decay_start": 0.25,
    }
)
"""The published schedule, as overrides of `mimik.training.loop.TrainingConfig`."""

CONDITION: Mapping[str, Any] = MappingProxyType({})
"""The method's condition unless params.yaml sets another: target labels, the default of `ConditionConfig`."""


@dataclass(frozen=True)
class Config(Rounds, OutputHead):
    """Settings; the defaults are the published ones (their training script's where it differs from the class's).

    Attributes:
        conv_dim, residual_blocks, stem, deviation: see `mimik.networks.gannotation.LandmarkGenerator`.
        lambda_adversarial: weight of all terms from D in G's loss.
        lambda_self: weight of the self-consistency.
        lambda_triple: weight of the triple consistency.
        consistency_every: compute the consistency terms only every this many steps, with their weight multiplied by it.
        adversary: settings of the discriminator.
    """

    conv_dim: int = 64
    residual_blocks: int = 6
    stem: Stem = "conv"
    deviation: float = 1.75 / 128
    critic_updates: int = 4
    lambda_adversarial: float = 0.01
    lambda_self: float = 1.0
    lambda_triple: float = 1.0
    consistency_every: int = 1
    # Ours: with lambda_adversarial, StarGAN's proportion of naming the class (0.1) to reconstruction (1).
    adversary: AdversaryConfig = field(default_factory=lambda: AdversaryConfig(lambda_classification=10.0))

    def __post_init__(self) -> None:
        """Refuse combinations that make no sense."""
        super().__post_init__()
        if self.consistency_every < 1:
            raise ValueError("consistency_every must be at least 1")
        if self.deviation <= 0:
            raise ValueError("deviation must be positive")


class Method(nn.Module):
    """GANnotation as a task for the training loop and as a translator."""

    def __init__(self, config: Config, context: Context) -> None:
        """Build the networks for the condition and image size of `context`.

        Raises:
            ValueError: states other than expressions as such: landmarks are known for classes only.
        """
        super().__init__()
        if context.condition.space != "expression" or context.condition.config.form != "absolute":
            raise ValueError("gannotation edits only expressions (condition: space expression, form absolute)")
        self.config, self.condition, self.image_size = config, context.condition, context.image_size
        self.reads = self.condition.reads | {"landmarks", "target_landmarks"} | config.reads
        self.generator = LandmarkGenerator(
            conv_dim=config.conv_dim,
            residual_blocks=config.residual_blocks,
            head=config.head,
            stem=config.stem,
            deviation=config.deviation,
        )
        self.discriminator = Adversary(config.adversary, context.image_size, self.condition)
        classes = self.condition.dim
        self.register_buffer("class_landmarks", torch.full((classes, POINTS, 2), 0.5))
        self.register_buffer("class_faces", torch.zeros(classes))
        self.class_landmarks: Tensor
        self.class_faces: Tensor
        self.updates: Sequence[Update] = critic_and_generator(config)

    handed = ("generator", "discriminator", "class_landmarks")
    """What another training takes over; its own faces then move the mean shapes."""

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: one mean shape for every class."""
        return {"class_landmarks": {0: states}}

    @property
    def averaged(self) -> nn.Module:
        """The generator."""
        return self.generator

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean: the layers, not called as one network."""
        return self.generator.network.layers

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update."""
        return self.discriminator.parameter_groups()

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update."""
        return [{"params": list(self.generator.parameters())}]

    def _shapes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Landmarks (B, 68, 2), fractions of the side: s of the batch's faces and b that they are asked for."""
        own, others = batch["landmarks"] / self.image_size, batch["target_landmarks"] / self.image_size
        return own, fitted(others, own)

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """See `mimik.components.adversary.Adversary.discriminator_loss`; the mean shapes of classes are kept too."""
        source, target = self.condition.source(batch), self.condition.target(batch)
        own, asked = self._shapes(batch)
        self._keep_means(own, source)
        fake = budget.fake(self.config, batch, step, lambda: self.generator(batch["image"], asked))
        return self.discriminator.discriminator_loss(batch["image"], fake, source, target, step)

    @torch.no_grad()
    def _keep_means(self, shapes: Tensor, states: Tensor) -> None:
        """Mean of every class over all faces that were trained on so far."""
        self.class_faces += states.sum(0)
        away = shapes[:, None] - self.class_landmarks  # (B, C, 68, 2)
        share = states / self.class_faces.clamp(min=1)
        self.class_landmarks += (share[:, :, None, None] * away).sum(0)

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Terms `adv`, `cls`, `cycle` (self-consistency), `triple` (`match`, `change`, `smooth` where switched on)."""
        config, image = self.config, batch["image"]
        target = self.condition.target(batch)
        own, asked = self._shapes(batch)
        fake, change = self.generator.edit(image, asked)
        batch["edited"] = fake
        judged, terms = self.discriminator.generator_loss(fake, target)
        total = config.lambda_adversarial * judged
        if lazy := budget.due(step, config.consistency_every):
            # The face after the next one lends the third shape; three passes as one.
            third = fitted(asked.roll(-1, 0), own)
            passes = torch.cat([fake, fake, image]), torch.cat([own, third, third])
            back, through, direct = self.generator(*passes).chunk(3)
            terms["cycle"] = losses.reconstruction(image, back).mean()
            terms["triple"] = losses.reconstruction(direct, through).mean()
            consistency = config.lambda_self * terms["cycle"] + config.lambda_triple * terms["triple"]
            total = total + lazy * consistency
        return budget.restrained(config, total, terms, batch, change)

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Edit images (B, 3, H, W) in [-1, 1] from the states `source` to `target`, float (B, C).

        Mean shapes of the states' classes stand for the faces' own landmarks, see the module's docstring. A state
        between two expressions asks for a shape between theirs.
        """
        edited: Tensor = self.generator(images, self._wanted(source, target))
        return edited

    def _wanted(self, source: Tensor, target: Tensor) -> Tensor:
        """Landmarks (B, 68, 2) that the generator is told for states."""
        before, after = ((state[:, :, None, None] * self.class_landmarks).sum(1) for state in (source, target))
        return fitted(after, before)

    def displacements(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor | None:
        """Where `translate` takes its pixels from before it paints, see `mimik.networks.heads.displacements`."""
        return self.generator.displacements(images, self._wanted(source, target))

    def generator_state(self) -> dict[str, Tensor]:
        """What `generator.safetensors` holds."""
        return {**stored_state(self.generator, self.condition), "class_landmarks": self.class_landmarks}

    def load_generator_state(self, state: Mapping[str, Tensor]) -> None:
        """Load `generator_state()`. Raises `RuntimeError` when names or shapes differ, `KeyError` without landmarks."""
        own = dict(state)
        self.class_landmarks.copy_(own.pop("class_landmarks"))
        load_stored_state(own, self.generator, self.condition)


def fitted(shapes: Tensor, to: Tensor) -> Tensor:
    """Shapes brought to others by the nearest similarity transforms (least squares; no reflection).

    The plane taken as complex numbers, the best rotation and scale is one factor,
    sum(to conj(shape)) / sum(|shape|^2) of the centred points.

    Args:
        shapes, to: float (B, N, 2), x then y. Points that all coincide stay together, at the mean of `to`.

    Returns:
        float (B, N, 2).
    """
    centre = to.mean(1, keepdim=True)
    points, goal = shapes - shapes.mean(1, keepdim=True), to - centre
    size = points.pow(2).sum((1, 2)).clamp(min=1e-12)
    real = (points * goal).sum((1, 2)) / size
    imaginary = (points[..., 0] * goal[..., 1] - points[..., 1] * goal[..., 0]).sum(1) / size
    turned = torch.stack([-points[..., 1], points[..., 0]], -1)
    return real[:, None, None] * points + imaginary[:, None, None] * turned + centre
