"""A discriminator that judges only realness, with its objective: for crops, and where no state is to be learned."""

import torch
from torch import Tensor, nn

from mimik.components import losses
from mimik.components.adversary import AdversaryConfig, Loss, Terms
from mimik.components.augmentation import Augmentation
from mimik.networks.convolution import shared_casts
from mimik.networks.ef_gan import PatchCritic


class Realness(nn.Module):
    """`mimik.components.adversary.Adversary` without states, for any size that the layers divide.

    Its losses accept the same states as those of `Adversary`, but ignore them.
    """

    def __init__(self, config: AdversaryConfig) -> None:
        """Build the network.

        Args:
            config: settings; those for states (`lambda_classification`, `per_class`, ...) are ignored.
        """
        super().__init__()
        self.config = config
        self.augmentation = Augmentation(config.augmentation)
        self.network = PatchCritic(
            conv_dim=config.conv_dim,
            layers=config.layers,
            max_conv_dim=config.max_conv_dim,
            negative_slope=config.negative_slope,
            initialisation=config.initialisation,
        )

    def discriminator_loss(self, real: Tensor, fake: Tensor | None, source: Tensor, target: Tensor, step: int) -> Loss:
        """The discriminator's loss on images (B, 3, H, W) in [-1, 1]; no gradient flows into `fake`.

        Returns:
            Scalar total and its unweighted terms `adv`, and `gp` or `r1` where the objective or R1 needs them, and
            `p` where augmentation is adaptive. Without a fake there is nothing to learn: 0 and no terms.
        """
        if fake is None:
            return real.new_zeros(()), {}
        config, real, fake = self.config, real.detach(), fake.detach()
        with shared_casts():
            both = self.augmentation(torch.cat([real, fake]))
            real_map, fake_map = self.network.realness(both).chunk(2)
            terms: Terms = {"adv": losses.discriminator_adversarial(real_map, fake_map, config.objective).mean()}
            total = terms["adv"]
            if config.objective == "wgan-gp":
                real_seen, fake_seen = both.chunk(2)
                terms["gp"] = losses.gradient_penalty(self.network.input_gradient, real_seen, fake_seen).mean()
                total = total + config.lambda_gradient_penalty * terms["gp"]
            if config.r1_gamma > 0 and step % config.r1_every == 0:
                pixels = real_map[0].numel()
                # Gradient of the mean of the map, so that R1 does not depend on its size.
                penalty = losses.r1_penalty(lambda x: self.network.input_gradient(x) / pixels, both[: len(real)])
                terms["r1"] = penalty.mean()
                total = total + 0.5 * config.r1_gamma * config.r1_every * terms["r1"]
            if self.augmentation.adaptive:
                terms["p"] = self.augmentation.observe(real_map.sign().mean((2, 3)))
        return total, terms

    def generator_loss(self, fake: Tensor, target: Tensor) -> Loss:
        """The generator's loss against this discriminator: the adversarial term `adv` on (B, 3, H, W)."""
        realness = self.network.realness(self.augmentation(fake))
        terms = {"adv": losses.generator_adversarial(realness, self.config.objective).mean()}
        return terms["adv"], terms
