"""relative_au: relative action units and an MSF U-Net (Ling et al., ECCV 2020; docs/papers/relative_au.md).

The generator is conditioned on the difference between target and source action units, where zero means no change, and
transforms the encoder's features under it at every scale. Equations, as losses to be minimised:

    v_rel = v_tgt - v_src,  x' = G(x, v_rel)                                                     Eq. 1
    D: E D(x') - E D(x) + 10 GP + lambda_1 L_cond(D(x), v_src)                                   Eq. 3, 5, 8
    G: -E D(x') + lambda_2 L_cond(D(x'), v_tgt) + lambda_3 L_rec + lambda_4 TV(x')               Eq. 4, 6, 9
    L_rec = |x - G(x, 0)|_1 + |G(x', -v_rel) - x|_1                                              Eq. 7

with lambda_1 = lambda_2 = 150, lambda_3 30, lambda_4 5e-6 and four D updates per G update. Interpolation (Eq. 2) is a
target between two states. Choices where paper and authors' code differ: L_cond is the mean over the action units, as
in the code (`cond_reduction: sum` is the paper's squared norm; the weights belong to the former); TV is the sum over
a batch of 16, as in the code, with the paper's weight; the learning rate decays to 1e-5, as in the paper (the code's
never reads that setting and ends at 0); four D updates throughout (the code changes to three for the second half);
D is GANimation's, as in the paper (the code's first layer is 5 x 5 and without biases); gradient penalty and the rest
of D's loss are one step of Adam (the code makes two of the same Adam: `gp_step: separate`). Options off by default are
described where they are declared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor, nn

from mimik.components import budget, losses
from mimik.components.adversary import Adversary, AdversaryConfig, Terms
from mimik.components.budget import LazyReconstruction, Rounds
from mimik.components.context import Context, load_stored_state, stored_state
from mimik.networks.heads import Head
from mimik.networks.msf_unet import Fusing, Generator
from mimik.networks.stargan import Stem
from mimik.training.batches import Batch
from mimik.training.schedule import Update, critic_and_generator

TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "epochs": 50,
        "steps": 156_250,  # the same on the 200,000 faces of the paper: smaller sets get no fewer updates
        "batch_size": 16,
        "learning_rate": 1e-4,
        "betas": (0.5, 0.999),
        "schedule": "linear",
        "decay_start": 0.6,
        "floor": 0.1,
        "shift": 1 / 16,
        "targets": "dataset",
    }
)
"""The published schedule, as overrides of `mimik.training.loop.TrainingConfig`."""

CONDITION: Mapping[str, Any] = MappingProxyType(
    {"space": "action_units", "form": "relative", "source_noise": 0.02, "target_noise": 0.1}
)
"""The generator's condition unless params.yaml sets another; the noise is that of the authors' code."""


@dataclass(frozen=True)
class Config(Rounds, LazyReconstruction):
    """Settings; the defaults are the published ones.

    Attributes:
        conv_dim, max_conv_dim, k_msf, head, stem: see `mimik.networks.msf_unet.Generator`.
        msf: `exchange` (the authors' code) or `text` (as the paper words it).
        lambda_reconstruction: weight of both terms of L_rec.
        lambda_smooth: weight of TV(x').
        tv_reduction: reduction of TV over the batch: `batch_sum`, or `per_image`, the mean of the images' sums.
        cond_reduction: reduction of L_cond over the action units: `mean` or `sum`.
        gp_step: take the gradient penalty in one optimiser step with the rest of D's loss (`joint`), or in a separate
            step after it (`separate`, as in the authors' code).
        adversary: settings of the discriminator; its lambda_classification is lambda_1 and lambda_2.
    """

    conv_dim: int = 64
    max_conv_dim: int = 512
    k_msf: int = 3
    msf: Fusing = "exchange"
    head: Head = "direct"
    stem: Stem = "conv"
    critic_updates: int = 4
    lambda_reconstruction: float = 30.0
    lambda_smooth: float = 5e-6
    tv_reduction: Literal["batch_sum", "per_image"] = "batch_sum"
    cond_reduction: Literal["mean", "sum"] = "mean"
    gp_step: Literal["joint", "separate"] = "joint"
    adversary: AdversaryConfig = field(
        default_factory=lambda: AdversaryConfig(lambda_classification=150.0, initialisation="normal")
    )

    def __post_init__(self) -> None:
        """Refuse combinations that make no sense."""
        super().__post_init__()
        if self.gp_step == "separate" and self.adversary.objective != "wgan-gp":
            raise ValueError("gp_step: separate needs the objective wgan-gp; others have no gradient penalty")


class Method(nn.Module):
    """Ling et al.'s method as a task for the training loop and as a translator."""

    def __init__(self, config: Config, context: Context) -> None:
        """Build the networks for the condition and image size of `context`."""
        super().__init__()
        self.config, self.condition = config, context.condition
        self.reads = self.condition.reads
        self.generator = Generator(
            self.condition.dim,
            conv_dim=config.conv_dim,
            max_conv_dim=config.max_conv_dim,
            k_msf=config.k_msf,
            fusing=config.msf,
            head=config.head,
            stem=config.stem,
        )
        adversary = config.adversary
        if config.cond_reduction == "sum":
            weight = adversary.lambda_classification * self.condition.dim
            adversary = replace(adversary, lambda_classification=weight)
        self.discriminator = Adversary(adversary, context.image_size, self.condition)
        self.updates: Sequence[Update] = critic_and_generator(config, config.gp_step == "separate")

    @property
    def averaged(self) -> nn.Module:
        """The generator."""
        return self.generator

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean."""
        return [self.generator]

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update."""
        return self.discriminator.parameter_groups()

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update."""
        return [{"params": list(self.generator.parameters())}]

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Eq. 8, with `gp_step: separate` less its penalty.

        See `mimik.components.adversary.Adversary.discriminator_loss` for the terms; `cls` is L_cond.
        """
        image, joint = batch["image"], self.config.gp_step == "joint"
        source, target = self.condition.source(batch), self.condition.target(batch)
        fake = budget.fake(self.config, batch, step, lambda: self.translate(image, source, target))
        return self.discriminator.discriminator_loss(image, fake, source, target, step, penalised=joint)

    def penalty_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """The penalty of Eq. 8 between the batch's faces and the edits that D's update before has seen."""
        image, condition = batch["image"], self.condition
        fake = budget.made(batch, lambda: self.translate(image, condition.source(batch), condition.target(batch)))
        return self.discriminator.penalty_loss(image, fake)

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Eq. 9: terms `adv`, `cls` (L_cond), `self`, `cycle` (Eq. 7), `tv` (and `match` where switched on)."""
        config, told = self.config, self.condition.told
        image = batch["image"]
        source, target = self.condition.source(batch), self.condition.target(batch)
        fake = self.generator(image, told(source, target))
        batch["edited"] = fake
        total, terms = self.discriminator.generator_loss(fake, target)
        if lazy := budget.due(step, config.reconstruction_every):
            # Told absolute states, Eq. 7's zero and -v_rel are the source state (Table 3, "w/o v_rel").
            terms["self"] = losses.reconstruction(image, self.generator(image, told(source, source))).mean()
            terms["cycle"] = losses.reconstruction(image, self.generator(fake, told(target, source))).mean()
            total = total + lazy * config.lambda_reconstruction * (terms["self"] + terms["cycle"])
        sums = losses.summed_variation(fake)
        terms["tv"] = sums.sum() if config.tv_reduction == "batch_sum" else sums.mean()
        return total + config.lambda_smooth * terms["tv"], terms

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Edit images (B, 3, H, W) in [-1, 1] from the states `source` to `target`, float (B, K)."""
        edited: Tensor = self.generator(images, self.condition.told(source, target))
        return edited

    def displacements(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor | None:
        """Where `translate` takes its pixels from before it paints, see `mimik.networks.heads.displacements`."""
        return self.generator.displacements(images, self.condition.told(source, target))

    def generator_state(self) -> dict[str, Tensor]:
        """What `generator.safetensors` holds."""
        return stored_state(self.generator, self.condition)

    def load_generator_state(self, state: Mapping[str, Tensor]) -> None:
        """Load `generator_state()`. Raises `RuntimeError` when names or shapes differ."""
        load_stored_state(state, self.generator, self.condition)
