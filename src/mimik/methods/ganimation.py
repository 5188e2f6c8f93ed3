"""GANimation (Pumarola et al., ECCV 2018, arXiv 1807.09251): conditioned on action units, with a keep-mask (attention).

The generator gives a colour image C and a mask A, and the edit is A x + (1 - A) C. Losses to be minimised, with the
released code's weights (docs/papers/baselines.md#ganimation), x' = G(x, v_t) with mask A_1, x'' = G(x', v_s) with A_2:

    D: E D(x') - E D(x) + 10 GP + 160 MSE(D_cond(x), v_s)
    G: -E D(x') + 160 MSE(D_cond(x'), v_t) + 10 |x - x''|_1 + 0.1 (mean A_1 + mean A_2) + 2.5e-4 (TV A_1 + TV A_2)

MSE is the mean over batch and action units (the code's 4000 are divided by its batch of 25); TV is the sum over an
image's pixels, its mean over the batch (the code's 1e-5 weighs the sum over 25 images). Five D updates per G update.
Known deviations from the code: the gradient penalty is part of D's one step of Adam, not a second step; G is not
updated once more whenever pictures are logged. With relative action units this is "GANimation w/ v_rel" of Ling et
al. 2020: L_cond keeps v_t, the cycle receives -v_rel. Options off by default are described where they are declared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from mimik.components import budget, losses
from mimik.components.adversary import Adversary, AdversaryConfig, Terms
from mimik.components.budget import LazyReconstruction, Rounds
from mimik.components.context import Context, load_stored_state, stored_state
from mimik.networks.stargan import Generator, Stem
from mimik.training.batches import Batch
from mimik.training.schedule import Update, critic_and_generator

TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "epochs": 30,
        "steps": 48_000,  # the same on the 200,000 faces of the paper: smaller sets get no fewer updates
        "batch_size": 25,
        "learning_rate": 1e-4,
        "betas": (0.5, 0.999),
        "schedule": "linear",
        "decay_start": 2 / 3,
        "targets": "dataset",
        "decay_every": "epoch",
    }
)
"""The published schedule, as overrides of `mimik.training.loop.TrainingConfig`."""

CONDITION: Mapping[str, Any] = MappingProxyType({"space": "action_units", "target_noise": 0.1})
"""The generator's condition unless params.yaml sets another: the target's action units."""


@dataclass(frozen=True)
class Config(Rounds, LazyReconstruction):
    """Settings; the defaults are the published ones.

    Attributes:
        conv_dim, residual_blocks, stem: see `mimik.networks.stargan.Generator`; its head is `masked`.
        lambda_reconstruction: weight of the cycle.
        lambda_attention: weight of the masks' means. A = 1 keeps the input: this drives the generator to edit.
        lambda_smooth: weight of the masks' total variations.
        adversary: settings of the discriminator.
    """

    conv_dim: int = 64
    residual_blocks: int = 6
    stem: Stem = "conv"
    lambda_reconstruction: float = 10.0
    lambda_attention: float = 0.1
    lambda_smooth: float = 2.5e-4
    adversary: AdversaryConfig = field(
        default_factory=lambda: AdversaryConfig(lambda_classification=160.0, initialisation="normal")
    )


class Method(nn.Module):
    """GANimation as a task for the training loop and as a translator."""

    def __init__(self, config: Config, context: Context) -> None:
        """Build the networks for the condition and image size of `context`."""
        super().__init__()
        self.config, self.condition = config, context.condition
        self.reads = self.condition.reads
        self.generator = Generator(
            self.condition.dim,
            conv_dim=config.conv_dim,
            residual_blocks=config.residual_blocks,
            head="masked",
            stem=config.stem,
            initialisation="normal",
        )
        self.discriminator = Adversary(config.adversary, context.image_size, self.condition)
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

    def edit(self, images: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Edited images (B, 3, H, W), and the mask A (B, 1, H, W) in [0, 1], 1 where the input is kept."""
        edited, replaced = self.generator.edit(images, self.condition.told(source, target))
        assert replaced is not None  # the masked head has a mask
        return edited, 1 - replaced

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """D's line; its terms are those of `mimik.components.adversary.Adversary`, where `cls` is the regression."""
        source, target = self.condition.source(batch), self.condition.target(batch)
        fake = budget.fake(self.config, batch, step, lambda: self.translate(batch["image"], source, target))
        return self.discriminator.discriminator_loss(batch["image"], fake, source, target, step)

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """G's line: terms `adv`, `cls` (the regression), `cycle`, `attention`, `smooth` (`match` where switched on).

        A_2 is there on the steps that compute the cycle only.
        """
        config = self.config
        image = batch["image"]
        source, target = self.condition.source(batch), self.condition.target(batch)
        fake, mask = self.edit(image, source, target)
        batch["edited"] = fake
        total, terms = self.discriminator.generator_loss(fake, target)
        attention, smooth = mask.mean(), losses.summed_variation(mask).mean()
        if lazy := budget.due(step, config.reconstruction_every):
            again, back = self.edit(fake, target, source)
            terms["cycle"] = losses.reconstruction(image, again).mean()
            total = total + lazy * config.lambda_reconstruction * terms["cycle"]
            attention = attention + lazy * back.mean()
            smooth = smooth + lazy * losses.summed_variation(back).mean()
        terms["attention"], terms["smooth"] = attention, smooth
        return total + config.lambda_attention * terms["attention"] + config.lambda_smooth * terms["smooth"], terms

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Edit images (B, 3, H, W) in [-1, 1] from the states `source` to `target`, float (B, K)."""
        edited: Tensor = self.generator(images, self.condition.told(source, target))
        return edited

    def generator_state(self) -> dict[str, Tensor]:
        """What `generator.safetensors` holds."""
        return stored_state(self.generator, self.condition)

    def load_generator_state(self, state: Mapping[str, Tensor]) -> None:
        """Load `generator_state()`. Raises `RuntimeError` when names or shapes differ."""
        load_stored_state(state, self.generator, self.condition)
