"""A discriminator together with what it and its generator minimise; every conditional method builds on this.

The defaults are StarGAN's (Choi et al. 2018, eq. 1 to 3 with the WGAN-GP objective of section 3.2, eq. 8). The
options serve small budgets and any method can use them: a hinge objective with the R1 penalty, one realness logit
per class with real images under a wrong label as negatives, and augmentation of everything the critic sees.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik import losses
from mimik.losses import Objective
from mimik.networks.stargan import Discriminator, Initialisation

Terms = dict[str, Tensor]
Loss = tuple[Tensor, Terms]


@dataclass(frozen=True)
class AdversaryConfig:
    """Settings of one discriminator (or of the four discriminators of the face's parts).

    Attributes:
        objective: `wgan-gp`, `vanilla` or `hinge`.
        conv_dim, layers, max_conv_dim: see `mimik.networks.stargan.Discriminator`.
        negative_slope, initialisation: likewise.
        learning_rate: factor on the run's learning rate.
        lambda_classification: weight of the class term, for both players.
        lambda_gradient_penalty: weight of the WGAN-GP penalty.
        r1_gamma: gamma of the R1 penalty (0: none); applied every `r1_every` steps, `r1_every` times as strong.
        per_class: per-class realness logits, weight `lambda_matching`.
        lambda_matching: weight of the per-class term, for both players.
        augment: largest shift, as a fraction of the side, of the random shift and colour jitter of everything the
            critic sees (real and fake alike, differentiable); 0: none.
    """

    objective: Objective = "wgan-gp"
    conv_dim: int = 64
    layers: int = 6
    max_conv_dim: int = 2048
    negative_slope: float = 0.01
    initialisation: Initialisation = "default"
    learning_rate: float = 1.0
    lambda_classification: float = 1.0
    lambda_gradient_penalty: float = 10.0
    r1_gamma: float = 0.0
    r1_every: int = 8
    per_class: bool = False
    lambda_matching: float = 1.0
    augment: float = 0.0

    def __post_init__(self) -> None:
        """Refuse combinations that make no sense."""
        if self.objective == "wgan-gp" and self.lambda_gradient_penalty <= 0:
            raise ValueError("wgan-gp needs lambda_gradient_penalty above 0")
        if self.r1_every < 1:
            raise ValueError("r1_every must be at least 1")
        if not 0 <= self.augment < 0.5:
            raise ValueError("augment is a fraction of the side in [0, 0.5)")


class Adversary(nn.Module):
    """One discriminator network (or P of them side by side) with its losses."""

    def __init__(self, config: AdversaryConfig, image_size: int, classes: int, parts: int = 1) -> None:
        super().__init__()
        self.config = config
        self.parts = parts
        self.network = Discriminator(
            image_size,
            classes,
            conv_dim=config.conv_dim,
            layers=config.layers,
            max_conv_dim=config.max_conv_dim,
            parts=parts,
            per_class=config.per_class,
            negative_slope=config.negative_slope,
            initialisation=config.initialisation,
        )

    def discriminator_loss(
        self,
        real: Tensor,
        fake: Tensor,
        source: Tensor,
        target: Tensor,
        step: int,
        weight: Tensor | None = None,
    ) -> Loss:
        """What the discriminator minimises.

        Args:
            real: (B, P*3, H, W) in [-1, 1], with label `source`.
            fake: (B, P*3, H, W), asked to show `target`; no gradient flows into it.
            source, target: int64 (B,).
            step: current step; decides whether R1 is due.
            weight: (B, P), 0 where a sample has no such part; None: all count.

        Returns:
            Scalar total and its unweighted terms, each summed over the parts.
        """
        config = self.config
        real, fake = real.detach(), fake.detach()
        both = self._augment(torch.cat([real, fake]))
        realness, logits, matching = self.network(both)
        real_map, fake_map = realness.chunk(2)
        terms = {
            "adv": part_mean(losses.discriminator_adversarial(real_map, fake_map, config.objective), weight),
            "cls": part_mean(losses.classification(logits.chunk(2)[0], source), weight),
        }
        total = terms["adv"] + config.lambda_classification * terms["cls"]
        if matching is not None:
            real_match, fake_match = matching.chunk(2)
            terms["match"] = part_mean(_matching_loss(real_match, fake_match, source, target), weight)
            total = total + config.lambda_matching * terms["match"]
        if config.objective == "wgan-gp":
            penalty = losses.gradient_penalty(self.network.input_gradient, real, fake, self.parts)
            terms["gp"] = part_mean(penalty, weight)
            total = total + config.lambda_gradient_penalty * terms["gp"]
        if config.r1_gamma > 0 and step % config.r1_every == 0:
            penalty = losses.r1_penalty(self._mean_gradient, both[: len(real)], self.parts)
            terms["r1"] = part_mean(penalty, weight)
            total = total + 0.5 * config.r1_gamma * config.r1_every * terms["r1"]
        return total, terms

    def label_loss(self, real: Tensor, source: Tensor, weight: Tensor | None = None) -> Loss:
        """What the discriminator minimises while it is trained alone: only what labels of real images teach.

        Args:
            real, source, weight: like `discriminator_loss`.

        Returns:
            Scalar total and its unweighted terms, each summed over the parts.
        """
        config = self.config
        _, logits, matching = self.network(self._augment(real.detach()))
        terms = {"cls": part_mean(losses.classification(logits, source), weight)}
        total = config.lambda_classification * terms["cls"]
        if matching is not None:
            terms["match"] = part_mean(_matching_loss(matching, None, source, source), weight)
            total = total + config.lambda_matching * terms["match"]
        return total, terms

    def generator_loss(self, fake: Tensor, target: Tensor, weight: Tensor | None = None) -> Loss:
        """What the generator minimises against this discriminator: adversarial and class terms.

        Args:
            fake: (B, P*3, H, W) in [-1, 1], asked to show `target`.
            target: int64 (B,).
            weight: like `discriminator_loss`.

        Returns:
            Scalar total and its unweighted terms, each summed over the parts.
        """
        config = self.config
        realness, logits, matching = self.network(self._augment(fake))
        terms = {
            "adv": part_mean(losses.generator_adversarial(realness, config.objective), weight),
            "cls": part_mean(losses.classification(logits, target), weight),
        }
        total = terms["adv"] + config.lambda_classification * terms["cls"]
        if matching is not None:
            wanted = matching.gather(2, target[:, None, None].expand(-1, self.parts, 1))[:, :, 0]
            terms["match"] = part_mean(-wanted, weight)
            total = total + config.lambda_matching * terms["match"]
        return total, terms

    def _mean_gradient(self, images: Tensor) -> Tensor:
        """Gradient of the mean of all that is adversarial, so that R1 does not depend on the size of the map."""
        network = self.network
        side = images.shape[-1] // 2**network.layers
        count: int = side**2 + (network.classes if network.per_class else 0)
        gradient: Tensor = network.input_gradient(images, per_class=True)
        return gradient / count

    def _augment(self, images: Tensor) -> Tensor:
        """Shift (the same for the whole batch, edges repeated) and jitter brightness and contrast, differentiably."""
        reach = round(self.config.augment * images.shape[-1])
        if reach == 0:
            return images
        dx, dy = (int(shift) for shift in torch.randint(-reach, reach + 1, (2,)))
        height, width = images.shape[-2:]
        padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
        shifted = padded[..., reach + dy : reach + dy + height, reach + dx : reach + dx + width]
        shape = (len(images), 1, 1, 1)
        brightness = (torch.rand(shape, device=images.device) - 0.5) * 0.4
        contrast = 1 + (torch.rand(shape, device=images.device) - 0.5) * 0.4
        return shifted * contrast + brightness


def part_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """(B, P) -> scalar: mean over the samples that have the part (all, without `weight`), summed over the parts."""
    if weight is None:
        return values.mean(0).sum()
    return ((values * weight).sum(0) / weight.sum(0).clamp(min=1)).sum()


def _matching_loss(real: Tensor, fake: Tensor | None, source: Tensor, target: Tensor) -> Tensor:
    """Hinge on per-class realness: real under its label is positive; real under others and fake are negative.

    Args:
        real, fake: (B, P, C) logits; `fake` may be missing.
        source: label of `real`; target: class that `fake` was asked for.

    Returns:
        (B, P).
    """
    classes = real.shape[2]
    true = F.one_hot(source, classes).to(real.dtype)[:, None]
    positive = (F.relu(1 - real) * true).sum(2)
    wrong = (F.relu(1 + real) * (1 - true)).sum(2) / (classes - 1)
    if fake is None:
        return positive + 0.5 * wrong
    asked = F.one_hot(target, classes).to(real.dtype)[:, None]
    return positive + 0.5 * wrong + 0.5 * (F.relu(1 + fake) * asked).sum(2)
