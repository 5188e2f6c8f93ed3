"""IcGAN (Perarnau et al. 2016, arXiv 1611.06355): a conditional GAN, then encoders that find a face's place in it.

Three stages (docs/papers/baselines.md#icgan), the first two of which are one here, to be minimised; y is the state of a
real face x, y' that of another one, z from N(0, 1):

    D:    -log D(x, y) - 1/2 log(1 - D(x, y')) - 1/2 log(1 - D(G(z, y'), y'))
    G:    -log D(G(z, y'), y')
    E_z:  |z - E_z(G(z, y'))|^2       on pictures of the finished G
    E_y:  |y - E_y(x)|^2              on real faces; two networks that know nothing of each other (the paper's IND)

An edit is G(E_z(x), y_t). Told differences (`condition: {form: relative}`) it is G(E_z(x), E_y(x) + y_t - y_s), the
paper's change of single attributes. States enter as -1 and 1 instead of 0 and 1, as in the authors' code. The networks
work at 64 pixels (`resolution`); other images are reduced and enlarged.

Known deviations from the authors' code: Adam's betas are the GAN's in both stages (theirs were 0.1 and 0.999 for the
encoders); pictures for E_z are drawn anew all the time instead of once; a face whose y' happens to be its own y is no
negative. D and G make no edits while they are trained, so this method takes no guidance.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.components.adversary import Terms
from mimik.components.augmentation import Augmentation, AugmentationConfig
from mimik.components.context import Context, load_stored_state, stored_state
from mimik.networks.icgan import Discriminator, Encoder, Generator
from mimik.networks.slices import Slices
from mimik.training.batches import Batch
from mimik.training.loop import Update

TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        # 25 epochs of 182,637 faces for the GAN, 15 of two thirds of as many for the encoders.
        "steps": 99_600,
        "batch_size": 64,
        "learning_rate": 2e-4,
        "betas": (0.5, 0.999),
    }
)
"""The published schedule, as overrides of `mimik.training.loop.TrainingConfig`."""

CONDITION: Mapping[str, Any] = MappingProxyType({})
"""The generator's condition unless params.yaml sets another: target labels, the default of `ConditionConfig`."""


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are the published ones.

    Attributes:
        resolution: side in pixels of the images that the networks see.
        noise_dim: length of z.
        conv_dim: width of G's last layer but one and of D's first.
        encoder_conv_dim: width of the first layer of both encoders.
        state_hidden: length of the hidden layer of E_y.
        gan_steps: number of steps that train the GAN; the rest of the run (`training.steps`, which must be larger)
            trains the encoders.
        encoder_learning_rate: factor on the run's learning rate.
        mismatched: also show D real faces with another state.
        augmentation: what everything that D sees passes through.
    """

    resolution: int = 64
    noise_dim: int = 100
    conv_dim: int = 64
    encoder_conv_dim: int = 32
    state_hidden: int = 512
    gan_steps: int = 71_300
    encoder_learning_rate: float = 0.5
    mismatched: bool = True
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if self.gan_steps < 1:
            raise ValueError("gan_steps must be at least 1")


class Method(nn.Module):
    """IcGAN as a task for the training loop and as a translator."""

    edits_in_training = False
    averaged = None
    """No moving average: it would mix the encoders with their random start, which lies in the middle of the run."""

    def __init__(self, config: Config, context: Context) -> None:
        """Build the networks for the condition of `context`.

        Raises:
            ValueError: a resolution that is no power of two from 16 on.
        """
        super().__init__()
        self.config, self.condition, self.image_size = config, context.condition, context.image_size
        self.reads = self.condition.reads
        size, states = config.resolution, self.condition.dim
        # All that a translation needs.
        self.generator: Any = nn.ModuleDict(
            {
                "image": Generator(states, size=size, noise_dim=config.noise_dim, conv_dim=config.conv_dim),
                "noise": Encoder(config.noise_dim, size=size, conv_dim=config.encoder_conv_dim),
                "state": Encoder(states, size=size, conv_dim=config.encoder_conv_dim, hidden=config.state_hidden),
            }
        )
        self.discriminator = Discriminator(states, size=size, conv_dim=config.conv_dim)
        self.augmentation = Augmentation(config.augmentation)
        self.updates: Sequence[Update] = (
            Update("discriminator", stop=config.gan_steps),
            Update("generator", stop=config.gan_steps),
            Update("encoder", start=config.gan_steps),
        )

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: E_y has an output for every state; its networks speak for the rest."""
        last = f"generator.state.network.{len(self.generator['state'].network) - 1}"
        return {f"{last}.weight": {0: states}, f"{last}.bias": {0: states}}

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean."""
        return [self.generator["image"]]

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update."""
        return [{"params": list(self.discriminator.parameters())}]

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update: G alone."""
        return [{"params": list(self.generator["image"].parameters())}]

    def encoder_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the encoder update: E_z and E_y."""
        parameters = [p for name in ("noise", "state") for p in self.generator[name].parameters()]
        return [{"params": parameters, "learning_rate": self.config.encoder_learning_rate}]

    # Losses ----------------------------------------------------------------------------------------------------------

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Terms `real`, `fake` and, with `mismatched`, `wrong`."""
        image = self._reduced(batch["image"])
        source, target = self.condition.source(batch), self.condition.target(batch)
        own, other = signed(source), signed(target)
        with torch.no_grad():
            fake = self.generator["image"](self._noise(len(image), image), other)
        image, fake = self.augmentation(image), self.augmentation(fake)
        real = self.discriminator(image, own)
        terms = {"real": F.softplus(-real).mean(), "fake": F.softplus(self.discriminator(fake, other)).mean()}
        if self.augmentation.adaptive:
            terms["p"] = self.augmentation.observe(real.sign()[:, None])
        if not self.config.mismatched:
            return terms["real"] + terms["fake"], terms
        differs = (source != target).any(1).float()
        wrong = F.softplus(self.discriminator(image, other))
        terms["wrong"] = (wrong * differs).sum() / differs.sum().clamp(min=1)
        return terms["real"] + 0.5 * terms["fake"] + 0.5 * terms["wrong"], terms

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Term `adv`."""
        other = signed(self.condition.target(batch))
        fake = self.generator["image"](self._noise(len(other), other), other)
        adversarial = F.softplus(-self.discriminator(self.augmentation(fake), other)).mean()
        return adversarial, {"adv": adversarial}

    def encoder_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Terms `noise` (E_z) and `state` (E_y), mean squared errors."""
        image = self._reduced(batch["image"])
        own, other = signed(self.condition.source(batch)), signed(self.condition.target(batch))
        noise = self._noise(len(image), image)
        generator: Generator = self.generator["image"]
        training = generator.training
        # As it will be used: with the statistics of its whole training, which stay as they are.
        with torch.no_grad():
            made = generator.eval()(noise, other)
        generator.train(training)
        terms = {
            "noise": F.mse_loss(self.generator["noise"](made), noise),
            "state": F.mse_loss(self.generator["state"](image), own),
        }
        return terms["noise"] + terms["state"], terms

    def _noise(self, count: int, like: Tensor) -> Tensor:
        return torch.randn(count, self.config.noise_dim, device=like.device)

    def _reduced(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) at the networks' resolution."""
        size = self.config.resolution
        return images if images.shape[-1] == size else F.interpolate(images, size, mode="area")

    # Translation -----------------------------------------------------------------------------------------------------

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Edit images (B, 3, H, W) in [-1, 1] from the states `source` to `target`, float (B, K).

        What is not in z and y is lost, even where no change is asked for.
        """
        small = self._reduced(images)
        wanted = signed(target)
        if self.condition.config.form == "relative":
            wanted = self.generator["state"](small) + 2 * self.condition.told(source, target)
        edited: Tensor = self.generator["image"](self.generator["noise"](small), wanted)
        if edited.shape[-1] == images.shape[-1]:
            return edited
        return F.interpolate(edited, images.shape[-1], mode="bilinear", align_corners=False)

    def generator_state(self) -> dict[str, Tensor]:
        """What `generator.safetensors` holds."""
        return stored_state(self.generator, self.condition)

    def load_generator_state(self, state: Mapping[str, Tensor]) -> None:
        """Load `generator_state()`. Raises `RuntimeError` when names or shapes differ."""
        load_stored_state(state, self.generator, self.condition)


def signed(states: Tensor) -> Tensor:
    """States of 0 to 1 as -1 to 1."""
    return 2 * states - 1
