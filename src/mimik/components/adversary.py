"""A discriminator with the losses that it and its generator minimise; every conditional method builds on this.

The defaults are StarGAN's (Choi et al. 2018, eq. 1 to 3 with the WGAN-GP objective of section 4, eq. 8;
docs/papers/baselines.md#adversarial-objective). The options are for small budgets and available to any method: a hinge
objective with the R1 penalty, one realness logit per class with real images under a wrong label as negatives, and
augmentation of everything the critic sees (`mimik.components.augmentation`).

The generator's condition determines what the critic's second head learns (`mimik.components.losses.condition`): it
classifies expressions or attributes, or estimates action units (GANimation's regression). For states that are not
one-hot, the option of per-class realness is a projection critic (Miyato and Koyama 2018): realness given a state is
linear in the state, or quadratic in action units, whose intensity counts too. The wrong states are then those of all
other faces in the batch.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.components import losses
from mimik.components.augmentation import Augmentation, AugmentationConfig
from mimik.components.conditions import Condition, Space
from mimik.components.losses import LabelReduction, Labels, Objective, UnitLoss
from mimik.networks.convolution import shared_casts
from mimik.networks.stargan import Discriminator, Initialisation

Terms = dict[str, Tensor]
Loss = tuple[Tensor, Terms]


@dataclass(frozen=True)
class AdversaryConfig:
    """Settings of one discriminator (or of the four discriminators of the face's parts).

    Attributes:
        objective: the adversarial loss of both players.
        conv_dim, layers, max_conv_dim: see `mimik.networks.stargan.Discriminator`.
        negative_slope, initialisation: see `mimik.networks.stargan.Discriminator`.
        learning_rate: factor on the run's learning rate.
        lambda_classification: weight of the condition term (classes, attributes or action units).
        lambda_classification_generator: weight of this term for the generator; None: the same.
        labels: condition term for expressions: softmax cross-entropy (`auto`), or `binary` as for attributes.
        label_reduction: whether binary cross-entropies are summed over the labels (StarGAN's code) or averaged
            (AttGAN's).
        lambda_gradient_penalty: weight of the WGAN-GP penalty.
        r1_gamma: gamma of the R1 penalty (0: none).
        r1_every: number of steps between R1 penalties, whose weight is multiplied by it.
        unit_loss: condition term for action units, `squared` or `logistic`; see `mimik.components.losses.condition`.
        per_class: also learn realness given the state, with the weight `lambda_matching`.
        lambda_matching: weight of the term of `per_class`, for both players.
        augment: of earlier versions, only 0; `augmentation` replaces it.
        augmentation: what everything that the critic sees passes through, real and fake alike. Penalties are taken at
            transformed images.
    """

    objective: Objective = "wgan-gp"
    conv_dim: int = 64
    layers: int = 6
    max_conv_dim: int = 2048
    negative_slope: float = 0.01
    initialisation: Initialisation = "default"
    learning_rate: float = 1.0
    lambda_classification: float = 1.0
    lambda_classification_generator: float | None = None
    labels: Labels = "auto"
    label_reduction: LabelReduction = "sum"
    lambda_gradient_penalty: float = 10.0
    r1_gamma: float = 0.0
    r1_every: int = 8
    unit_loss: UnitLoss = "squared"
    per_class: bool = False
    lambda_matching: float = 1.0
    augment: float = 0.0
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        """Refuse combinations that make no sense."""
        if self.objective == "wgan-gp" and self.lambda_gradient_penalty <= 0:
            raise ValueError("wgan-gp needs lambda_gradient_penalty above 0")
        if self.r1_every < 1:
            raise ValueError("r1_every must be at least 1")
        if self.augment:
            raise ValueError(
                "augment, which shifted a whole batch alike, is no longer there; use augmentation, for example "
                "augmentation: {probability: 0.2}"
            )
        if self.augmentation.adaptive and self.objective == "wgan-gp":
            raise ValueError(
                "an adaptive augmentation follows the signs of the critic's outputs, which mean nothing under wgan-gp; "
                "set augmentation.adaptive: false and a probability, or the objective hinge or vanilla"
            )


class Adversary(nn.Module):
    """One discriminator network (or P of them side by side) with its losses."""

    def __init__(
        self,
        config: AdversaryConfig,
        image_size: int,
        condition: Condition,
        parts: int = 1,
        channels: int = 3,
        confidence_penalty: float = 0.0,
        network: nn.Module | None = None,
        colours: bool = True,
    ) -> None:
        """Build the network.

        Args:
            config: settings.
            image_size: side of the images in pixels.
            condition: describes the states that the second head learns.
            parts: P.
            channels: of every part's images.
            confidence_penalty: beta; the discriminator's condition term, for real and for fake images, is reduced by
                beta times the entropy of its head's prediction (Pereyra et al. 2017).
            network: a network other than StarGAN's, with the same outputs and attributes (`input_gradient` only if it
                is `piecewise_linear`), and with `matching_logits` for realness given the state.
            colours: False for maps, which augmentation only moves.

        Raises:
            ValueError: a confidence penalty on estimates of action units, which have no confidence.
        """
        super().__init__()
        if confidence_penalty and condition.space == "action_units":
            raise ValueError("estimates of action units have no confidence; set confidence_penalty: 0")
        self.config = config
        self.confidence_penalty = confidence_penalty
        self.parts = parts
        self.space: Space = condition.space
        if network is None:
            network = Discriminator(
                image_size,
                condition.dim,
                channels=channels,
                conv_dim=config.conv_dim,
                layers=config.layers,
                max_conv_dim=config.max_conv_dim,
                parts=parts,
                matching=matching_logits(config, condition),
                negative_slope=config.negative_slope,
                initialisation=config.initialisation,
            )
        self.network: Any = network
        self.augmentation = Augmentation(config.augmentation, channels, colours)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the discriminator's update trains, for the training loop."""
        return [{"params": list(self.parameters()), "learning_rate": self.config.learning_rate}]

    @shared_casts()
    def discriminator_loss(
        self,
        real: Tensor,
        fake: Tensor | None,
        source: Tensor,
        target: Tensor,
        step: int,
        weight: Tensor | None = None,
        penalised: bool = True,
    ) -> Loss:
        """The loss of the discriminator.

        Args:
            real: (B, P*3, H, W) in [-1, 1], in the state `source`.
            fake: (B, P*3, H, W), edited to `target`; no gradient flows into it. None while the discriminator is
                trained alone: the loss then consists only of the terms on the states of real images.
            source, target: float (B, K) states, see `mimik.components.conditions`.
            step: current step; determines whether R1 is computed.
            weight: (B, P), 0 where a sample has no such part; None: all count.
            penalised: whether to include WGAN-GP's penalty; False for methods with a separate step for `penalty_loss`.

        Returns:
            Scalar total and its unweighted terms, each summed over the parts.
        """
        if fake is None:
            return self._state_loss(real, source, target, weight)
        config = self.config
        real, fake = real.detach(), fake.detach()
        both = self.augmentation(torch.cat([real, fake]))
        realness, logits, matching = self.network(both)
        real_map, fake_map = realness.chunk(2)
        terms = {
            "adv": part_mean(losses.discriminator_adversarial(real_map, fake_map, config.objective), weight),
            "cls": part_mean(self._condition_loss(logits.chunk(2)[0], source), weight),
        }
        total = terms["adv"] + config.lambda_classification * terms["cls"]
        if self.confidence_penalty:
            real_entropy, fake_entropy = losses.entropy(logits, self.space).chunk(2)
            terms["entropy"] = part_mean(real_entropy + fake_entropy, weight)
            total = total - config.lambda_classification * self.confidence_penalty * terms["entropy"]
        if matching is not None:
            real_match, fake_match = matching.chunk(2)
            terms["match"] = part_mean(self._matching_loss(real_match, fake_match, source, target), weight)
            total = total + config.lambda_matching * terms["match"]
        if config.objective == "wgan-gp" and penalised:
            real_seen, fake_seen = both.chunk(2)
            penalty = losses.gradient_penalty(self._gradient, real_seen, fake_seen, self.parts)
            terms["gp"] = part_mean(penalty, weight)
            total = total + config.lambda_gradient_penalty * terms["gp"]
        if config.r1_gamma > 0 and step % config.r1_every == 0:
            penalty = losses.r1_penalty(self._mean_gradient, both[: len(real)], self.parts)
            terms["r1"] = part_mean(penalty, weight)
            total = total + 0.5 * config.r1_gamma * config.r1_every * terms["r1"]
        if self.augmentation.adaptive:
            own = None if matching is None else self._own(matching.chunk(2)[0], source).sign()
            terms["p"] = self.augmentation.observe(real_map.sign().mean((2, 3)), own, weight)
        return total, terms

    def penalty_loss(self, real: Tensor, fake: Tensor) -> Loss:
        """WGAN-GP's penalty with its weight, for a separate step of the discriminator's optimiser.

        Parameters that the penalty does not depend on, such as the condition head, get a gradient of zero rather than
        none, so that Adam carries on their momentum: torch's `zero_grad` left zeros when the codes that take such steps
        were written (GANimation; Ling et al.).

        Args:
            real, fake: as for `discriminator_loss`.

        Returns:
            Scalar total and the term `gp`, summed over the parts.
        """
        real, fake = (self.augmentation(images.detach()) for images in (real, fake))
        penalty = losses.gradient_penalty(self._gradient, real, fake, self.parts)
        terms = {"gp": part_mean(penalty, None)}
        zero = sum(0 * parameter.sum() for parameter in self.parameters())
        return self.config.lambda_gradient_penalty * terms["gp"] + zero, terms

    def generator_loss(self, fake: Tensor, target: Tensor, weight: Tensor | None = None) -> Loss:
        """The generator's loss against this discriminator: adversarial and condition terms.

        Args:
            fake: (B, P*3, H, W) in [-1, 1], edited to `target`.
            target: float (B, K).
            weight: as for `discriminator_loss`.

        Returns:
            Scalar total and its unweighted terms, each summed over the parts.
        """
        config = self.config
        realness, logits, matching = self.network(self.augmentation(fake))
        terms = {
            "adv": part_mean(losses.generator_adversarial(realness, config.objective), weight),
            "cls": part_mean(self._condition_loss(logits, target), weight),
        }
        own = config.lambda_classification_generator
        total = terms["adv"] + (config.lambda_classification if own is None else own) * terms["cls"]
        if matching is not None:
            terms["match"] = part_mean(-self._own(matching, target), weight)
            total = total + config.lambda_matching * terms["match"]
        return total, terms

    def _state_loss(self, real: Tensor, source: Tensor, target: Tensor, weight: Tensor | None) -> Loss:
        """`discriminator_loss` without a fake."""
        config = self.config
        _, logits, matching = self.network(self.augmentation(real.detach()))
        terms = {"cls": part_mean(self._condition_loss(logits, source), weight)}
        total = config.lambda_classification * terms["cls"]
        if matching is not None:
            terms["match"] = part_mean(self._matching_loss(matching, None, source, target), weight)
            total = total + config.lambda_matching * terms["match"]
        return total, terms

    def _condition_loss(self, predicted: Tensor, states: Tensor) -> Tensor:
        config = self.config
        return losses.condition(
            predicted,
            states,
            self.space,
            labels=config.labels,
            reduction=config.label_reduction,
            unit_loss=config.unit_loss,
        )

    def _given(self, matching: Tensor, states: Tensor) -> Tensor:
        """Realness of every image given every state: the logit of the class, or linear in the embedded state.

        Args:
            matching: (B, P, M).
            states: float (N, K).

        Returns:
            (B, P, N).
        """
        return torch.einsum("bpm,nm->bpn", matching, _embedded(states, self.space).to(matching.dtype))

    def _own(self, matching: Tensor, states: Tensor) -> Tensor:
        """Realness (B, P) of images given a state each: (B, P, M) logits and float (B, K)."""
        return torch.einsum("bpm,bm->bp", matching, _embedded(states, self.space).to(matching.dtype))

    def _matching_loss(self, real: Tensor, fake: Tensor | None, source: Tensor, target: Tensor) -> Tensor:
        """Hinge on realness given a state: real in its own state is positive; real in other states and fake, negative.

        Args:
            real, fake: (B, P, M) logits; `fake` may be missing.
            source: states of `real`; target: target states of `fake`.

        Returns:
            (B, P).
        """
        if self.space == "expression":
            true = source.to(real.dtype)[:, None]
            positive = (F.relu(1 - real) * true).sum(2)
            wrong = (F.relu(1 + real) * (1 - true)).sum(2) / (source.shape[1] - 1)
        else:
            positive = F.relu(1 - self._own(real, source))
            # States of other faces are weighted by how far they differ: a nearly equal state is not wrong.
            apart = (source[:, None] - source[None]).abs().amax(2)[:, None].to(real.dtype)
            wrong = (F.relu(1 + self._given(real, source)) * apart).sum(2) / apart.sum(2).clamp(min=1)
        if fake is None:
            return positive + 0.5 * wrong
        return positive + 0.5 * wrong + 0.5 * F.relu(1 + self._own(fake, target))

    def _gradient(self, images: Tensor, matching: bool = False) -> Tensor:
        """Gradient of the sum of all realness of the images, differentiable in the weights."""
        if self.network.piecewise_linear:
            gradient: Tensor = self.network.input_gradient(images, matching)
            return gradient

        def realness(points: Tensor) -> Tensor:
            plain, _, given = self.network(points)
            total: Tensor = plain.sum()
            return total + given.sum() if matching and given is not None else total

        return losses.input_gradient(realness, images)

    def _mean_gradient(self, images: Tensor) -> Tensor:
        """Gradient of the mean of all adversarial outputs, so that R1 does not depend on the size of the map."""
        count: int = self.network.adversarial_outputs(images.shape[-1])
        return self._gradient(images, matching=True) / count


def _embedded(states: Tensor, space: Space) -> Tensor:
    """The embedding (B, M) of states (B, K) in which realness is linear: a weighted mean of logits.

    For action units these are the terms of a Gaussian's log-density. An embedding sums to 1, as a one-hot state does.
    Otherwise a logit shared by all states, and a sum of many logits, would move many times further per step than the
    logit of a class; this did destabilise a fast-learning critic when the first fakes arrived.
    """
    if space == "expression":
        return states
    terms = [states, states.new_ones(len(states), 1)]
    if space == "action_units":
        terms.append(states.square())
    return F.normalize(torch.cat(terms, 1), p=1, dim=1)


def matching_logits(config: AdversaryConfig, condition: Condition) -> int:
    """Number of logits needed for realness given the state."""
    return _embedded(torch.zeros(1, condition.dim), condition.space).shape[1] if config.per_class else 0


def part_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """(B, P) -> scalar: mean over the samples that have the part (all, without `weight`), summed over the parts."""
    if weight is None:
        return values.mean(0).sum()
    return ((values * weight).sum(0) / weight.sum(0).clamp(min=1)).sum()
